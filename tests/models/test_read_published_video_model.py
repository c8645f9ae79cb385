"""V-JEPA and V-JEPA 2 from published weights, and their predictors."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from reference import published_vit
from reference.published_video import (
    clips_of,
    latents_of,
    official_parts,
    pixels_of,
    save,
    vjepa2_model,
    vjepa_parts,
)

from keras_iwm.models import read_published_video_model
from keras_iwm.optimizers import AdamW
from keras_iwm.saving.write_safetensors import write_safetensors
from keras_iwm.views import VideoBlockMask

pytest.importorskip("transformers")

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on each backend"
)
CONTEXT_IDS, TARGET_IDS = np.array([[0, 25, 9], [31, 2, 6]]), np.array([[3, 30]] * 2)


def assert_close(latents, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(latents), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.5


def predictions_of(model, clips):
    """What transformers predicts, with the mask token that it always takes."""
    masks = ([torch.tensor(ids)] for ids in (CONTEXT_IDS, TARGET_IDS))
    with torch.no_grad():
        outputs = model(pixels_of(clips), *masks)
    return outputs.predictor_output.last_hidden_state.numpy()


@pytest.mark.parametrize("official", [True, pytest.param(False, marks=on_torch)])
def test_a_vjepa_2_predicts_what_that_of_transformers_does(official, tmp_path):
    theirs = vjepa2_model()
    arguments = {"seed": 0, "image_size": 16, "num_frames": 4}
    if official:
        parts = official_parts(theirs)
        parts["target_encoder"] = parts["encoder"]
        path = save(parts, tmp_path / "vitl.pt")
        arguments["num_heads"] = 2
    else:
        theirs.save_pretrained(path := tmp_path)
    model = read_published_video_model(path, **arguments)
    clips = clips_of(4, 16, 16)
    latents = latents_of(theirs, clips)
    for encoder in (model.encoder, model.target_encoder):
        assert_close(encoder(clips), latents)
    context = np.take_along_axis(latents, CONTEXT_IDS[..., None], axis=1)
    prediction = model.predictor(context, CONTEXT_IDS, TARGET_IDS, mask_index=1)
    assert_close(prediction, predictions_of(theirs, clips))
    assert model.predictor.num_mask_tokens == 2


@on_torch
def test_a_published_model_learns_on(tmp_path):
    vjepa2_model().save_pretrained(tmp_path)
    model = read_published_video_model(tmp_path, seed=0)
    clips = clips_of(4, 16, 16)
    model.compile(AdamW(1e-4))
    assert np.isfinite(model.fit(clips, verbose=0).history["loss"]).all()


def test_a_vjepa_has_all_published_networks(tmp_path):
    parts = vjepa_parts((2, 4, 4), 28, 16)
    path = save(parts, tmp_path / "vitl16.pth.tar")
    model = read_published_video_model(path, num_heads=2, num_frames=4, seed=0)
    clips = clips_of(4, 16, 16)
    for part in ("encoder", "target_encoder"):
        latents = published_vit.encode(parts[part], clips, 2)
        assert_close(getattr(model, part)(clips), latents)
    context = np.take_along_axis(latents, CONTEXT_IDS[..., None], axis=1)
    for index in range(2):
        state = parts["predictor"]
        token = state[f"module.backbone.mask_tokens.{index}"]
        state = {**state, "module.mask_token": token}
        expected = published_vit.predict(state, context, CONTEXT_IDS, TARGET_IDS, 2)
        prediction = model.predictor(
            context.astype("float32"), CONTEXT_IDS, TARGET_IDS, mask_index=index
        )
        assert_close(prediction, expected)


@on_torch
def test_masks_of_a_users_own_take_the_first_mask_tokens(tmp_path):
    parts = vjepa_parts((2, 4, 4), 28, 16)
    path = save(parts, tmp_path / "vitl16.pth.tar")
    arguments = {"num_heads": 2, "num_frames": 4}
    mask = VideoBlockMask((2, 4, 4))
    model = read_published_video_model(path, masks=[mask], **arguments)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.predictor.mask_token),
        parts["predictor"]["module.backbone.mask_tokens.0"][0, 0],
    )
    masks = [VideoBlockMask((2, 4, 4), name=f"mask_{i}") for i in range(3)]
    with pytest.raises(ValueError, match="`masks` must be at most 2"):
        read_published_video_model(path, masks=masks, **arguments)


@on_torch
def test_what_is_not_the_network_is_refused_whole(tmp_path):
    arguments = {"num_heads": 2, "num_frames": 4}
    parts = vjepa_parts((2, 4, 4), 28, 16)
    del parts["predictor"]["module.backbone.predictor_norm.bias"]
    parts["predictor"]["module.backbone.action_encoder.bias"] = np.ones(3, "float32")
    path = tmp_path / "vitl16.pth.tar"
    with pytest.raises(ValueError, match=r"(?s)predictor_norm\.bias.*action_encoder"):
        read_published_video_model(save(parts, path), **arguments)
    del parts["predictor"]
    with pytest.raises(ValueError, match="`positions` must be given"):
        read_published_video_model(save(parts, path), **arguments)
    images = published_vit.random_encoder(1)
    write_safetensors(tmp_path / "images.safetensors", images)
    with pytest.raises(ValueError, match="`path` must hold a V-JEPA"):
        read_published_video_model(tmp_path / "images.safetensors")
    vjepa2_model(layer_norm_eps=1e-3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="norms that add 1e-06"):
        read_published_video_model(tmp_path)
