"""Which real changes a change of predictions is made of."""

import numpy as np


def inner_products(changes, real, told):
    """What all scores of one image's changed predictions are made of.

    Args:
        changes: Array `(num_slots, num_places, size)`, by how much predictions changed
            when a slot was moved to a place.
        real: Array like it, by how much the latents of the changed image do.
        told: Array like it, by how much predictions do which are told the action.

    Returns:
        Dictionary of arrays: `gram`, `(num_places, num_slots, num_slots)`, of the real
        changes at one place; `products`, `(num_slots, num_places, num_slots)`, of a
        changed prediction with each of them; `squares`, `with_told` and
        `told_squares`, `(num_slots, num_places)`.
    """
    return {
        "gram": np.einsum("ikp,jkp->kij", real, real),
        "products": np.einsum("skp,jkp->skj", changes, real),
        "squares": np.einsum("skp,skp->sk", changes, changes),
        "with_told": np.einsum("skp,skp->sk", changes, told),
        "told_squares": np.einsum("skp,skp->sk", told, told),
    }


def slope_matrix(gram, products):
    """Recovered over moved amounts, by least squares over places and images.

    The predicted changes are written as sums of the real changes at the same place.
    Images on which a slot does much count for more, those on which it does nothing, as
    hue on a gray one, for nothing.

    Args:
        gram: Array of shape `(num_slots, num_slots)`, see `inner_products`, summed.
        products: Array of shape `(num_slots, num_slots)`, moved before recovered.

    Returns:
        Array of shape `(num_slots, num_slots)`, the identity at best.
    """
    # Slots whose real changes differ by less than the digits cannot be told apart.
    return products @ np.linalg.pinv(gram, rcond=1e-6, hermitian=True)


def diagonal_share(slopes):
    """Of all that is recovered for a moved slot, the part that is that slot.

    Args:
        slopes: Array of shape `(num_slots, num_slots)`.

    Returns:
        Array of shape `(num_slots,)` from 0 to 1; 0 where nothing is recovered.
    """
    whole = np.abs(slopes).sum(axis=1)
    return np.abs(np.diag(slopes)) / np.where(whole > 0, whole, 1.0)


def explained_share(gram, products, squares):
    """The part of predicted changes that is made of real ones, `(num_slots,)`.

    Args:
        gram: See `slope_matrix`.
        products: See there.
        squares: Array of shape `(num_slots,)`, see `inner_products`, summed.
    """
    slopes = slope_matrix(gram, products)
    made = 2 * np.sum(slopes * products, axis=1)
    made -= np.einsum("si,ij,sj->s", slopes, gram, slopes)
    return made / np.where(squares > 0, squares, 1.0)
