"""The cost of a run, by hand."""

import json
import math

import pytest

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.command_line import main
from keras_iwm.evaluation import flops_per_image
from keras_iwm.models import (
    AutoregressiveModel,
    ImageWorldModel,
    LatentDynamicsModel,
    method_of,
)
from keras_iwm.sizing import DEVICES, Device, estimate_run, terms
from keras_iwm.views import MultiBlockMask, ViewGenerator

# Round figures, and eight devices on two hosts.
ROUND = Device("round", 1e12, 1e9, 1e8, 1e7, 4, 4, 10)
CHOICES = {
    "num_images": 8_000_000,
    "epochs": 2,
    "batch_size": 64,
    "device": ROUND,
    "num_devices": 8,
    "utilisation": 0.5,
}


def make_model(**arguments):
    encoder = ViTEncoder(16, 4, 40, 3, 2, mlp_dim=56, name="encoder", **arguments)
    predictor = WorldModelPredictor(
        (4, 4), 40, 24, 2, 2, mlp_dim=28, name="predictor", **arguments
    )
    mask = MultiBlockMask(4, num_context=5, num_targets=4)
    return ImageWorldModel(encoder, predictor, ViewGenerator(16, mask, seed=3))


@pytest.fixture(scope="module")
def model():
    return make_model()


def learned_and_fixed(model):
    learned = model.encoder.count_params() + model.predictor.count_params()
    return learned, model.target_encoder.count_params()


def test_what_is_kept_by_hand(model):
    blocks = model.view_generator.mask.num_passes
    encoder = 3 * 5 * (8 * 40 + 2 * 56)
    predictor = 2 * (5 + 4) * blocks * (8 * 24 + 2 * 28)
    assert terms.kept_bytes(model) == 2 * (encoder + predictor)
    # With remat the stream between blocks, and one block whole.
    encoder = 3 * 5 * 40 + 5 * (8 * 40 + 2 * 56)
    predictor = 9 * blocks * (2 * 24 + 8 * 24 + 2 * 28)
    assert terms.kept_bytes(make_model(remat=True)) == 2 * (encoder + predictor)
    model.encoder.trainable = False
    try:
        assert terms.kept_bytes(model) == 2 * 2 * 9 * blocks * (8 * 24 + 2 * 28)
    finally:
        model.encoder.trainable = True


def test_state_by_hand():
    learned, fixed = 1000, 300
    for sharded, values in (
        ("nothing", 4 * 1000 + 300),  # weights, gradients, two moments; the teacher
        ("optimizer", 2 * 1000 + 300 + 2 * 1000 / 8),
        ("everything", (4 * 1000 + 300) / 8),
    ):
        assert terms.state_bytes(learned, fixed, 8, sharded) == 4 * values
    assert terms.state_bytes(learned, fixed, 1, "nothing", True) == 4 * 5300
    assert terms.checkpoint_bytes(learned, fixed) == 4 * 3300


def test_exchanges_by_hand():
    # Within a host 3/4 of the bytes, then 1/2 of a quarter of them between the hosts.
    once = 0.75 * 1e6 / 1e8 + 0.5 * 0.25e6 / 1e7
    assert terms.pass_seconds(1e6, 8, ROUND) == pytest.approx(once)
    assert terms.pass_seconds(1e6, 2, ROUND) == pytest.approx(0.5 * 1e6 / 1e8)
    assert terms.pass_seconds(1e6, 1, ROUND) == 0
    learned, fixed = 10**6, 3 * 10**5

    def exchanged(sharded, gradient_bytes=4):
        return terms.exchanges(learned, fixed, 8, ROUND, sharded, gradient_bytes)

    # A pass of a million float32 is four passes of a million bytes.
    assert exchanged("nothing") == pytest.approx(
        {"forward": 0, "backward": 8 * once, "after": 0}
    )
    assert exchanged("nothing", 2)["backward"] == pytest.approx(4 * once)
    assert exchanged("optimizer") == pytest.approx(
        {"forward": 0, "backward": 4 * once, "after": 4 * once}
    )
    assert exchanged("everything") == pytest.approx(
        {"forward": 5.2 * once, "backward": 8 * once, "after": 0}
    )


def test_what_overlap_leaves_by_hand():
    # Of four buckets of gradients the last one leaves when all is computed.
    learned = 4 * terms.BUCKET
    exchanged = {"forward": 2.0, "backward": 4.0, "after": 1.0}
    for forward, backward, left in ((0, 0, 7), (5, 9, 2), (1, 9, 3), (5, 2, 3)):
        found = terms.exposed_seconds(exchanged, forward, backward, learned)
        assert found == pytest.approx(left)
    # What is smaller than a bucket leaves all at once.
    assert terms.exposed_seconds(exchanged, 0, 9, 10**6) == 7


def test_a_run_by_hand(model):
    found = estimate_run(
        model, **CHOICES, overlap=False, decode_rate=1e9, image_bytes=1, write_rate=1e5
    )
    learned, fixed = learned_and_fixed(model)
    computing = 8 * flops_per_image(model, training=True) / 0.5e12
    once = 0.75 / 1e8 + 0.5 * 0.25 / 1e7
    exchanging = 2 * 4 * learned * once
    saving = 4 * (3 * learned + fixed) / 1e5
    checkpoints = (computing + exchanging) * saving / 600
    step = computing + exchanging + checkpoints
    assert found["parts"] == pytest.approx(
        {
            "computing": computing,
            "exchanging": exchanging,
            "reading": 0,
            "checkpoints": checkpoints,
        }
    )
    assert found["step_seconds"] == pytest.approx(step)
    assert found["hours"] == pytest.approx(250_000 * step / 3600)
    assert found["device_hours"] == pytest.approx(8 * found["hours"])
    assert found["images_per_second"] == pytest.approx(64 / step)
    assert found["checkpoint_seconds"] == pytest.approx(saving)
    memory = 4 * (4 * learned + fixed) + 8 * terms.kept_bytes(model)
    assert (found["memory_bytes"], found["fits"]) == (memory, True)
    assert found["hosts"] == 2
    # As many hosts write two parts at once.
    found = estimate_run(model, **CHOICES, write_rate=1e5, sharded_checkpoints=True)
    assert found["checkpoint_seconds"] == pytest.approx(saving / 2)
    # One file is put together by one core.
    found = estimate_run(model, **CHOICES, write_rate=1e12)
    assert found["checkpoint_seconds"] == pytest.approx(saving * 1e5 / terms.FILE)


def test_reading_by_hand(model):
    # 80 cores that decode 10 images a second each, 64 images a step.
    choices = {**CHOICES, "decode_rate": 10, "save_every": 1e12}
    found = estimate_run(model, **choices)
    assert found["reading_seconds"] == pytest.approx(64 / 800)
    rest = found["parts"]["computing"] + found["parts"]["exchanging"]
    assert found["parts"]["reading"] == pytest.approx(64 / 800 - rest)
    assert found["images_per_second"] == pytest.approx(800, rel=1e-6)
    # Storage that hands out half of that.
    choices |= {"image_bytes": 1000, "read_rate": 200_000}
    found = estimate_run(model, **choices)
    assert found["images_per_second"] == pytest.approx(400, rel=1e-6)
    # Of a host with one device alone, its cores are used alone.
    found = estimate_run(model, **{**choices, "num_devices": 1, "read_rate": 1e9})
    assert found["reading_seconds"] == pytest.approx(64 / 100)


def test_accumulation_and_memory(model):
    whole = estimate_run(model, **CHOICES)
    parts = estimate_run(model, **CHOICES, accumulation_steps=4)
    learned, _ = learned_and_fixed(model)
    assert parts["activation_bytes"] == whole["activation_bytes"] / 4
    assert parts["state_bytes"] == whole["state_bytes"] + 4 * learned
    assert parts["exchange_seconds"] == whole["exchange_seconds"]
    small = Device("small", 1e12, 1e6, 1e8, 1e7, 4, 4, 10)
    found = estimate_run(model, **{**CHOICES, "device": small})
    assert (found["fits"], found["bound"]) == (False, "memory")


def of(memory=1e9, **choices):
    """What bounds a run on other choices, and the advice."""
    device = Device("other", 1e12, memory, 1e8, 1e7, 4, 4, 10)
    quick = {"decode_rate": 1e9, "image_bytes": 1, "write_rate": 1e12}
    found = estimate_run(
        make_model(), **{**CHOICES, **quick, "device": device, **choices}
    )
    return found["bound"], " ".join(found["advice"])


def test_advice_names_what_can_be_changed():
    bound, words = of()
    assert bound == "exchanging"
    assert "exchange them in bfloat16, or use fewer devices" in words
    _, words = of(num_devices=4, exchange_dtype="bfloat16", overlap=False)
    assert "exchange gradients behind the backward pass, or use a larger" in words
    assert of(num_devices=1, batch_size=4096) == ("computing", "")
    bound, words = of(decode_rate=1)
    assert bound == "reading"
    assert "take" in words
    assert "2 host(s)" in words
    bound, words = of(write_rate=100)
    assert bound == "checkpoints"
    assert "save in shards, or save less often" in words
    _, words = of(write_rate=100, sharded_checkpoints=True)
    assert "s: save less often" in words
    # A state that does not fit, then one that does, with one image at a time.
    bound, words = of(memory=1e5)
    assert bound == "memory"
    assert 'sharded_state="everything"' in words
    assert "larger or more devices" in of(memory=1e4, sharded_state="everything")[1]
    learned, fixed = learned_and_fixed(make_model())
    state = 4 * (4 * learned + fixed)
    kept = terms.kept_bytes(make_model())
    _, words = of(memory=(state + 2.1 * kept) / 0.9)
    assert (
        f"8 images at a time do not fit a device: accumulate gradients over {4}"
        in words
    )


@pytest.mark.parametrize(
    "preset",
    [
        *("ijepa_tiny_32", "mae_tiny_32", "moco_tiny_32", "autoregressive_tiny_32"),
        *("vjepa_tiny_64", "dynamics_tiny_64"),
    ],
)
def test_all_methods_have_a_cost(preset):
    model = method_of(preset).from_preset(preset, load_weights=False)
    found = estimate_run(model, 1e6)
    assert found["activation_bytes_per_image"] > 0
    assert math.isfinite(found["hours"])
    assert found["parts"]["computing"] == pytest.approx(
        256 * flops_per_image(model, training=True) / (0.4 * 989e12)
    )


def test_what_heads_and_dynamics_keep_by_hand():
    model = AutoregressiveModel.from_preset(
        "autoregressive_tiny_32", load_weights=False
    )
    head = sum(sum(w.shape) for w in model.head.weights if len(w.shape) == 2)
    encoder = 3 * 16 * (8 * 96 + 2 * 384)
    assert terms.kept_bytes(model) == 2 * (encoder + 16 * head)
    model = LatentDynamicsModel.from_preset("dynamics_tiny_64", load_weights=False)
    tokens = model.predictor.tokens_per_step
    predictor = 4 * (7 + model.rollout_steps) * tokens * (8 * 192 + 2 * 768)
    encoder = 7 * 6 * 64 * (8 * 192 + 2 * 768)
    assert terms.kept_bytes(model) == 2 * (encoder + predictor)


def test_the_command_says_what_the_function_does(capsys):
    options = ["estimate", "iwm_tiny_32", "--images", "1e6", "--devices", "16"]
    options += ["--device", "a100", "--peak", "1e14", "--save-every", "60"]
    main([*options, "--json"])
    printed = json.loads(capsys.readouterr().out)
    model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False)
    a100 = DEVICES["a100"]
    device = Device("a100", 1e14, a100.memory_bytes, 300e9, 25e9, 8, 8, 16)
    found = estimate_run(model, 1e6, device=device, num_devices=16, save_every=60)
    assert printed == {"preset": "iwm_tiny_32", **found}
    main(options)
    lines = capsys.readouterr().out
    assert f"bound by {found['bound']}" in lines
    assert f"{found['hours']:,.2f} hours" in lines
    with pytest.raises(SystemExit, match="must be a multiple"):
        main([*options, "--batch-size", "17"])


def test_arguments_are_checked(model):
    for argument, value in (
        ("model", 3),
        ("num_images", 0),
        ("epochs", -1),
        ("batch_size", 63),
        ("device", "h9000"),
        ("num_devices", 0),
        ("utilisation", 1.1),
        ("exchange_dtype", "int8"),
        ("sharded_state", "all"),
        ("accumulation_steps", 3),
        ("decode_rate", 0),
        ("overlap", "yes"),
        ("sharded_checkpoints", 2),
        ("write_rate", float("nan")),
    ):
        with pytest.raises(ValueError, match=f"`{argument}`"):
            estimate_run(**{"model": model, **CHOICES, argument: value})
    with pytest.raises(ValueError, match="`peak_flops`"):
        Device("one", 0, 1, 1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="`num_linked`"):
        Device("one", 1, 1, 1, 1, 0, 1, 1)
