"""An independent forward pass in NumPy, in float64, from a model's weights."""

import math

import numpy as np


def weights_of(model):
    """Weights by their path below the model."""
    weights = {}
    for weight in model.weights:
        path = weight.path.split("/")
        if path[0] == model.name:
            path = path[1:]
        key = "/".join(path)
        assert key not in weights, key
        weights[key] = np.asarray(weight.numpy(), "float64")
    return weights


def layer_norm(x, gamma, beta):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * gamma + beta


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def positions(rows, columns, dim):
    """Sine and cosine positions, one loop per patch."""
    table = np.zeros((rows * columns, dim))
    quarter = dim // 4
    for row in range(rows):
        for column in range(columns):
            for index in range(quarter):
                frequency = 1 / 10000 ** (4 * index / dim)
                out = table[row * columns + column]
                out[index] = math.sin(row * frequency)
                out[quarter + index] = math.cos(row * frequency)
                out[2 * quarter + index] = math.sin(column * frequency)
                out[3 * quarter + index] = math.cos(column * frequency)
    return table


def positions_of_clips(grid_size, dim):
    """Those of a grid of three axes, whose pairs of features divide by three."""
    num_pairs = dim // 6
    table = np.zeros((math.prod(grid_size), dim))
    for out, place in zip(table, np.ndindex(*grid_size), strict=True):
        for axis, index in np.ndindex(3, num_pairs):
            angle = place[axis] / 10000 ** (index / num_pairs)
            out[2 * axis * num_pairs + index] = math.sin(angle)
            out[(2 * axis + 1) * num_pairs + index] = math.cos(angle)
    return table


def rotate(heads, places, kind="rotary", grid_size=None):
    """Queries or keys (batch, tokens, features) of one head, turned pair by pair.

    `places` (batch or 1, tokens, axes) are whole numbers, or NaN for tokens that stand
    nowhere. A pair is a complex number of a feature in the first half and one in the
    second. `"rotary_tiled"` gives its two parts frequencies of their own, and
    `"rotary_scaled"` spreads the patches of a grid from -1 to 1.
    """
    half, axes = heads.shape[-1] // 2, places.shape[-1]
    pairs = half // axes
    places = np.broadcast_to(places, (*heads.shape[:2], axes))
    turned = heads.copy()
    for sample, token, axis in np.ndindex(places.shape):
        place = places[sample, token, axis]
        for pair in range(pairs):
            first, second = axis * pairs + pair, half + axis * pairs + pair
            number = heads[sample, token, first] + 1j * heads[sample, token, second]
            members = [pair, pair]
            if kind == "rotary_tiled":
                members = [2 * pair % pairs, (2 * pair + 1) % pairs]
            angles = [place / 10000 ** (member / pairs) for member in members]
            if kind == "rotary_scaled":
                share = (place + 0.5) / grid_size[axis]
                angles = [2 * math.pi * (2 * share - 1) / 100 ** (pair / pairs)] * 2
            if not np.isnan(place):
                first_turned, second_turned = (
                    number * np.exp(1j * angle) for angle in angles
                )
                turned[sample, token, first] = first_turned.real
                turned[sample, token, second] = second_turned.imag
    return turned


def places_of(grid_size, patch_ids=None):
    """Places (batch or 1, patches, axes) on a grid, the last axis running fastest."""
    places = np.array(list(np.ndindex(*grid_size)), "float64")
    return places[None] if patch_ids is None else places[np.asarray(patch_ids)]


def block(x, w, name, heads, mask=True, places=None, kind="rotary", grid_size=None):
    """A block; `mask` (..., queries, keys) says which keys each query may see.

    With `places` queries and keys are turned, see `rotate`.
    """
    batch, tokens, dim = x.shape
    h = layer_norm(
        x, w[f"{name}/attention_norm/gamma"], w[f"{name}/attention_norm/beta"]
    )
    qkv = h @ w[f"{name}/attention/query_key_value/kernel"]
    q, k, v = np.split(qkv, 3, axis=-1)
    q = q + w[f"{name}/attention/query_bias"]
    k = k + w.get(f"{name}/attention/key_bias", 0)
    v = v + w[f"{name}/attention/value_bias"]
    mixed = np.zeros_like(q)
    size = dim // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        query, key = q[..., part], k[..., part]
        if places is not None:
            query = rotate(query, places, kind, grid_size)
            key = rotate(key, places, kind, grid_size)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(size)
        mixed[..., part] = softmax(np.where(mask, scores, -np.inf)) @ v[..., part]
    x = (
        x
        + mixed @ w[f"{name}/attention/output_projection/kernel"]
        + w[f"{name}/attention/output_projection/bias"]
    )
    h = layer_norm(x, w[f"{name}/mlp_norm/gamma"], w[f"{name}/mlp_norm/beta"])
    h = gelu(h @ w[f"{name}/mlp_hidden/kernel"] + w[f"{name}/mlp_hidden/bias"])
    return x + h @ w[f"{name}/mlp_output/kernel"] + w[f"{name}/mlp_output/bias"]


def cut(x, size, depth):
    """Patches of images, or of clips `depth` frames deep, one at a time."""
    clips = x if x.ndim == 5 else x[:, None]
    grid_size = np.array(clips.shape[1:4]) // (depth, size, size)
    patches = []
    for time, row, column in np.ndindex(*grid_size):
        patch = clips[
            :,
            time * depth : (time + 1) * depth,
            row * size : (row + 1) * size,
            column * size : (column + 1) * size,
        ]
        patches.append(patch.reshape(len(x), -1))
    return np.stack(patches, axis=1)


def encode(encoder, images, patch_ids=None):
    """The encoder's latents; returns those after every block too."""
    w = weights_of(encoder)
    low, high = encoder.value_range
    x = (np.asarray(images, "float64") - low) / (high - low)
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    depth = getattr(encoder, "tubelet_size", 1)
    patches = cut(x, encoder.patch_size, depth)
    grid_size = [side // encoder.patch_size for side in x.shape[-3:-1]]
    if x.ndim == 5:
        grid_size.insert(0, x.shape[1] // depth)
    # Their place in the sequence says nothing: they are put behind here.
    prefix = w.get(
        "position_embedding/prefix_tokens", np.zeros((0, encoder.hidden_dim))
    )
    turned = turned_places(encoder, grid_size, patch_ids, len(prefix))
    table = table_of(encoder.positions, grid_size, encoder.hidden_dim)
    table = np.broadcast_to(table, (*patches.shape[:2], encoder.hidden_dim))
    if patch_ids is not None:
        patches = np.stack([p[i] for p, i in zip(patches, patch_ids, strict=True)])
        table = np.stack([p[i] for p, i in zip(table, patch_ids, strict=True)])
    x = (
        patches @ w["patch_embedding/projection/kernel"]
        + w["patch_embedding/projection/bias"]
        + table
    )
    count = x.shape[1]
    x = np.concatenate([x, np.broadcast_to(prefix, (len(x), *prefix.shape))], axis=1)
    outputs = {"stem": x}
    for index in range(encoder.num_layers):
        x = block(x, w, f"block_{index:02d}", encoder.num_heads, **turned)
        outputs[f"block_{index:02d}"] = x
    outputs["norm"] = layer_norm(x, w["norm/gamma"], w["norm/beta"])
    return {name: tokens[:, :count] for name, tokens in outputs.items()}


def table_of(kind, grid_size, dim):
    """What is added to the tokens of a grid of two or three axes."""
    if kind.startswith("rotary"):
        return np.zeros((math.prod(grid_size), dim))
    if len(grid_size) == 2:
        return positions(*grid_size, dim)
    return positions_of_clips(grid_size, dim)


def turned_places(model, grid_size, patch_ids, others=0):
    """Arguments of `block`: where patches stand, and other tokens behind, nowhere."""
    if not model.positions.startswith("rotary"):
        return {}
    places = places_of(grid_size, patch_ids)
    nowhere = np.full((len(places), others, len(grid_size)), np.nan)
    places = np.concatenate([places, nowhere], axis=1)
    return {"places": places, "kind": model.positions, "grid_size": grid_size}


def encode_sequence(causal_encoder, images, patch_ids, prefix_lengths=None):
    """Outputs after each block for start token and patches, which see no later ones."""
    encoder = causal_encoder.encoder
    stem = encode(encoder, images, patch_ids)["stem"]
    start = np.asarray(causal_encoder.start_token.numpy(), "float64")
    start = np.broadcast_to(start, (len(images), 1, len(start)))
    x = np.concatenate([start, stem], axis=1)
    mask = np.zeros((len(images), x.shape[1], x.shape[1]), bool)
    for sample, query, key in np.ndindex(*mask.shape):
        prefix = 0 if prefix_lengths is None else prefix_lengths[sample]
        mask[sample, query, key] = key <= query or key <= prefix
    w = weights_of(encoder)
    outputs = {"stem": x}
    for index in range(encoder.num_layers):
        x = block(x, w, f"block_{index:02d}", encoder.num_heads, mask)
        outputs[f"block_{index:02d}"] = x
    outputs["norm"] = layer_norm(x, w["norm/gamma"], w["norm/beta"])
    return outputs


def predict(predictor, context_latents, context_ids, target_ids, action, mask_index=0):
    """The predictor's output for one set of targets an image."""
    w = weights_of(predictor)
    table = table_of(predictor.positions, predictor.grid_size, predictor.predictor_dim)
    context = (
        np.asarray(context_latents, "float64") @ w["input_projection/kernel"]
        + w["input_projection/bias"]
        + table[context_ids]
    )
    targets = np.atleast_2d(w["mask_token"])[mask_index] + table[target_ids]
    tokens = [context, targets]
    if predictor.conditioning == "feature":
        # Joined along the features, then three layers.
        h = np.concatenate(
            [targets, np.repeat(action[:, None], targets.shape[1], axis=1)], axis=-1
        )
        joint = [w[f"action_features/{name}/kernel"] for name in ("token", "action")]
        h = h @ np.concatenate(joint) + w["action_features/token/bias"]
        h = np.maximum(h, 0) @ w["action_features/hidden/kernel"]
        h = np.maximum(h + w["action_features/hidden/bias"], 0)
        h = h @ w["action_features/output/kernel"]
        tokens[1] = h + w["action_features/output/bias"]
    if predictor.conditioning == "sequence":
        tokens.append(
            action[..., None] * w["action_tokens/kernel"] + w["action_tokens/bias"]
        )
    x = np.concatenate(tokens, axis=1)
    ids = np.concatenate([context_ids, target_ids], axis=1)
    others = x.shape[1] - ids.shape[1]
    turned = turned_places(predictor, predictor.grid_size, ids, others)
    for index in range(predictor.num_layers):
        x = block(x, w, f"block_{index:02d}", predictor.num_heads, **turned)
    x = x[:, context.shape[1] : context.shape[1] + targets.shape[1]]
    x = layer_norm(x, w["norm/gamma"], w["norm/beta"])
    return x @ w["output_projection/kernel"] + w["output_projection/bias"]


def normalized(latents):
    centred = latents - latents.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)


def predict_next(predictor, latents, actions, states=None):
    """What a dynamics predictor says follows each of the frames, a clip at a time.

    Its width divides by six.
    """
    w = weights_of(predictor)
    num_steps, num_patches = latents.shape[1:3]
    conditions = {"action": actions} if states is None else {
        "action": actions, "state": states
    }  # fmt: skip
    table = positions_of_clips(
        (num_steps, *predictor.grid_size), predictor.predictor_dim
    ).reshape(num_steps, num_patches, -1)
    predictions = []
    for clip, frames in enumerate(np.asarray(latents, "float64")):
        tokens, steps = [], []
        for step in range(num_steps):
            told = [
                values[clip, step] @ w[f"{name}_projection/kernel"]
                + w[f"{name}_projection/bias"]
                for name, values in conditions.items()
            ]
            tokens += [one + table[step].mean(axis=0) for one in told]
            for patch in range(num_patches):
                token = frames[step, patch] @ w["input_projection/kernel"]
                token = token + w["input_projection/bias"] + sum(told)
                tokens.append(token + table[step, patch])
            steps += [step] * (len(told) + num_patches)
        x = np.stack(tokens)[None]
        mask = np.array([[key <= query for key in steps] for query in steps])
        for index in range(predictor.num_layers):
            x = block(x, w, f"block_{index:02d}", predictor.num_heads, mask)
        x = layer_norm(x, w["norm/gamma"], w["norm/beta"])
        x = x @ w["output_projection/kernel"] + w["output_projection/bias"]
        x = x[0].reshape(num_steps, -1, x.shape[-1])[:, -num_patches:]
        predictions.append(normalized(frames + x))
    return np.stack(predictions)
