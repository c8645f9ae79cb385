"""Named sizes of the autoregressive model."""

import pytest

from keras_iwm.models import AutoregressiveModel


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("autoregressive_tiny_32", 679_776),
        ("autoregressive_tiny_96", 7_447_488),
        ("autoregressive_base_224", 111_635_712),
    ],
)
def test_presets_have_the_parameters_of_their_names(preset, expected):
    model = AutoregressiveModel.from_preset(preset, load_weights=False)
    assert model.count_params() == expected


def test_presets_take_changes():
    model = AutoregressiveModel.from_preset(
        *("autoregressive_tiny_32", False),
        **{"head_layers": 1, "patch_size": 4, "order": "morton"},
    )
    assert model.head.num_layers == 1
    assert model.head.hidden_dim == 96
    assert model.num_patches == 64
    with pytest.raises(ValueError, match="must be a size of a AutoregressiveModel"):
        AutoregressiveModel.from_preset("iwm_tiny_32", load_weights=False)
