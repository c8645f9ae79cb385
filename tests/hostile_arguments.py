"""Every public constructor and function, and what nobody should pass to it.

`CALLS` gives right arguments to each, `HOSTILE` the values that take the place of one
of them, and `is_legal` says, with reasons, which of those are right after all. What is
public and new is an example of the harness, or one entry of `_calls_of_functions`.
"""

import inspect
import os
import pathlib
import re
import shutil
import tempfile

import keras
import numpy as np
import pyarrow
import torch
from harness import (
    BACKBONE,
    EXAMPLES,
    images,
    make_encoder,
    make_masked_autoencoder,
    make_world_model,
)
from PIL import Image
from pyarrow import parquet
from reference import published_video, published_vit

from keras_iwm import (
    actions,
    backbones,
    callbacks,
    datasets,
    distribution,
    downstream,
    embeddings,
    evaluation,
    heads,
    layers,
    metrics,
    models,
    optimizers,
    planning,
    saving,
    sizing,
    views,
    visualization,
)
from keras_iwm.evaluation.report_table import SECTIONS

ROOMS = (
    *(actions, backbones, callbacks, datasets, distribution, downstream),
    *(embeddings, evaluation, heads),
    *(layers, metrics, models, optimizers, planning, saving, sizing, views),
    visualization,
)
HOSTILE = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": -float("inf"),
    "-1": -1,
    "0": 0,
    "0.5": 0.5,
    "10**9": 10**9,
    "'a'": "a",
    "''": "",
    "None": None,
    "[]": [],
    "()": (),
    "{}": {},
    "object()": object(),
    "True": True,
    "[nan, nan]": [float("nan")] * 2,
    "['a', 'a']": ["a", "a"],
    "[None]": [None],
    "{'a': None}": {"a": None},
    "six axes": np.zeros((2,) * 6),
    "no axis": np.float32("nan"),
    "no rows": np.zeros((0, 16, 16, 3)),
    "NaN images": np.full((4, 16, 16, 3), np.nan),
    "NaN matrix": np.full((4, 3), np.nan),
    "texts": np.array(["a", "b"]),
    "objects": np.array([None, object()]),
}

# Public things that take no argument, or only Keras's own.
WITHOUT_ARGUMENTS = {
    callbacks.CollapseWarning,
    datasets.load_sample_photos,
    layers.TokenDense,
}
# Raised, or made, by the library alone.
ELSEWHERE = {
    *(callbacks.NonFiniteError, datasets.Scenes, datasets.Twins, planning.Plan),
}
# Handed to Keras as they are, which takes what it can make sense of.
KERAS_OWN = {"name", "dtype", "output_initializer"}
# A huge one is no mistake, but takes memory or time in proportion.
SIZES = {
    *(
        "action_dim",
        "condition_dim",
        "epochs",
        "feature_dim",
        "grid_size",
        "head_dim",
        "head_layers",
        "hidden_dim",
        "image_size",
    ),
    *(
        "index",
        "max_skipped",
        "shard_size",
        "shuffle_buffer",
        "mlp_dim",
        "num_blocks",
        "num_candidates",
        "num_channels",
    ),
    *(
        "batches_per_epoch",
        "clips_per_epoch",
        "count",
        "num_crops",
        "num_classes",
        "num_directions",
        "num_draws",
        "num_entries",
        "num_frames",
        "num_heads",
        "num_images",
        "num_noise_levels",
    ),
    *(
        "num_layers",
        "num_mask_tokens",
        "num_pairs",
        "num_prefix_tokens",
        "patch_dim",
        "patch_size",
        "predictor_dim",
        "predictor_heads",
    ),
    *("predictor_layers", "size", "output_dim", "tubelet_size"),
    *("num_iterations", "num_samples", "num_scenes", "num_steps"),
    *("slots", "state_dim"),
}
FRACTIONS = {
    *("probability", "flip_probability", "jitter_probability", "threshold"),
    *("drop_path_rate", "warmup_fraction", "ema_momentum", "beta_1", "beta_2"),
    *("range", "brightness", "contrast", "saturation", "hue", "strength"),
    *("jitter_strength", "epsilon", "momentum"),
}
RATES = {
    *("learning_rate", "weight_decay"),
    *("weight", "variance_weight", "covariance_weight"),
}
POSITIVE = {
    *("fraction", "layer_decay", "initializer_stddev", "predictor_multiplier"),
    *("std", "delta", "t", "every_seconds", "min_deviation", "layer_scale"),
    *("ratio", "temperature", "noise"),
}
# What a run is reckoned with; any positive number will do.
FIGURES = {
    *("peak_flops", "memory_bytes", "fast_link", "slow_link", "cores_per_device"),
    *("decode_rate", "image_bytes", "read_rate", "write_rate", "save_every"),
}
MOTIONS = {"max_pan", "max_log_zoom", "max_turn", "max_speed"}
# Lists that may be empty: without operations views do not differ, and so on.
NONE_OF = {
    *("actions", "shared", "destructive", "latents", "patches", "callbacks"),
    "augmentations",
    "predictor_dims",
}
# Hostile values that are right for arguments of these names.
LEGAL = {
    # Never, not at all, no spread, the first, or the seed 0.
    "0": {
        *(*FRACTIONS, *RATES, "seed", "mean", "index", "ignore_label"),
        *("num_processes", "background", "min_deviation", "num_prefix_tokens"),
        *("num_first", "temperature", *MOTIONS, "num_sprites"),
        *("state_dim", "rollout_steps"),
    },
    "0.5": {
        *(*FRACTIONS, *RATES, *POSITIVE, *MOTIONS, *FIGURES, "mean", "temperature"),
        "utilisation",
    },
    # A pixel can be below zero, and so can the class that is left out.
    "-1": {"mean", "ignore_label"},
    # More than there is means all, and rates have no upper limit.
    "10**9": {
        *(*RATES, "mean", "std", "delta", "t", "predictor_multiplier", "seed"),
        *("keep", "every_steps", "every_seconds", "limit", "max_pixels"),
        *("every", "batch_size", "block_index", "k", "steps", "num_values"),
        *("num_context", "num_targets", "ignore_label", "layer_scale"),
        *("temperature", "noise", "bank_size", "num_clips", *FIGURES),
        *("num_linked", "num_on_host"),
    },
    "[]": {*NONE_OF},
    "()": {*NONE_OF},
    "{}": {"learning_rate_multipliers", "facts", "summary", "paths"},
    # Of a summary only what is known is drawn.
    "{'a': None}": {"facts", "summary"},
    "'a'": {
        *("folder", "monitor", "skipped_csv", "index", "encoder_name", "caption"),
        *("history_csv", "control", "licence"),
    },
    "['a', 'a']": {"class_names"},
    "texts": {"class_names"},
    # A diverged encoder's features measure NaN, which callbacks warn of; what is
    # normalised within a step cannot be looked at.
    "NaN matrix": {
        *("features", "train_features", "test_features", "latents", "patches"),
        *("predictions", "bank"),  # ranked in the middle
    },
    "NaN images": {"latents", "patches", "predictions", "bank"},
    "[nan, nan]": {"latents", "patches"},
    "six axes": {"latents", "patches"},
    "no rows": {"latents", "patches"},
}


def is_legal(name, argument, label):
    """Whether a call may accept a hostile value, because it makes sense."""
    call, arguments = CALLS[name]
    parameters = inspect.signature(call).parameters
    # `from_preset` has none of its own: its other arguments default to the preset's.
    default = parameters[argument].default if argument in parameters else None
    if label == "None":
        return default is None or argument == "crop"  # no crop
    if isinstance(arguments[argument], bool):
        return label in ("0", "True")
    if name in ("pack_folder", "pack_parquet") and argument == "output":
        return label == "'a'"
    if name == "patch_pixels" and argument == "images":
        return label in ("NaN images", "no rows")  # within a step
    if name in ("ImageArray", "ClipArray", "AugmentedImages") and label.startswith(
        "NaN"
    ):
        # `fit` looks at the first batch; labels may be arrays of any kind.
        if argument == ("images" if label == "NaN images" else "labels"):
            return True
        return name in ("ImageArray", "ClipArray") and argument == "labels"
    if argument == "seed" and default is None and label == "-1":
        return True
    return argument in LEGAL.get(label, ())


def public_things():
    """All public classes and functions."""
    return {
        value
        for room in ROOMS
        for name, value in vars(room).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
    }


def arguments_of(example):
    """The arguments that an example was made with, which its attributes keep."""
    names = [
        name
        for name, parameter in inspect.signature(type(example)).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    return {name: getattr(example, name) for name in names}


def _image_folder(step=1):
    """A folder of grey pictures, which may be images and, in small steps, masks."""
    folder = tempfile.mkdtemp()
    for number in range(4):
        picture = Image.fromarray(np.full((16, 16), step * number, "uint8"))
        picture.save(os.path.join(folder, f"{number}.png"))
    return folder


def _shard_folder():
    """A folder of one shard."""
    folder = tempfile.mkdtemp()
    datasets.pack_folder(_image_folder(), folder)
    return folder


def _parquet_folder():
    """A folder of one Parquet file with labels."""
    folder = tempfile.mkdtemp()
    names = sorted(os.listdir(FOLDER))
    contents = [pathlib.Path(FOLDER, name).read_bytes() for name in names]
    table = {"image": contents, "label": list(range(len(names)))}
    parquet.write_table(pyarrow.table(table), os.path.join(folder, "a.parquet"))
    return folder


def _clip_folder():
    """A folder of two clips, which are folders of the same pictures."""
    folder = tempfile.mkdtemp()
    for name in ("one", "two"):
        shutil.copytree(FOLDER, os.path.join(folder, name))
    return folder


def _published_video_file():
    """What V-JEPA's code would write of a tiny model."""
    parts = published_video.vjepa_parts((2, 4, 4), 28, 16)
    path = os.path.join(tempfile.mkdtemp(), "small.pth.tar")
    return published_video.save(parts, path)


def _published_file():
    """What I-JEPA's code would write of a tiny model."""
    parts = published_vit.random_checkpoint(0)
    content = {
        part: {name: torch.tensor(array) for name, array in state.items()}
        for part, state in parts.items()
    }
    path = os.path.join(tempfile.mkdtemp(), "small.pth.tar")
    torch.save(content, path)
    return path


def _model_file():
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    make_encoder().save(path)
    return path


def _embeddings_file(encoder):
    path = os.path.join(tempfile.mkdtemp(), "embeddings.npz")
    embeddings.embed_folder(encoder, PHOTOS, path)
    return path


FOLDER, PHOTOS = _image_folder(), _image_folder(60)
SHARDS, PARQUET = _shard_folder(), _parquet_folder()
STILLS = list(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), "uint8"))
MAKER = datasets.MovingPhotos(STILLS, image_size=16, num_frames=4)
CLIP_FOLDER = _clip_folder()
PUBLISHED = {
    **{"path": _published_file(), "image_size": 12, "num_heads": 2},
    **{"value_range": (0, 255), "dtype": None},
}
FILES = {
    **{"image_size": 16, "num_channels": 3, "bad_files": "raise", "skipped_csv": None},
}


def _calls_of_classes():
    others = {
        actions.ActionSpace: {
            "shared": [actions.Hue(0.2)],
            "destructive": [actions.Grayscale(0.5)],
        },
        actions.ColorJitter: {
            **{"brightness": 0.1, "contrast": 0.2, "saturation": 0.3, "hue": 0.05},
            **{"probability": 0.7, "strength": 1.5},
        },
        actions.Transform: {"probability": 0.5},
        callbacks.RunCheckpoint: {
            **{"folder": "runs", "keep": 2, "every_steps": 9, "every_seconds": 9.0},
            **{"monitor": None, "mode": "min", "callbacks": (), "sharded": False},
        },
        callbacks.HistoryFile: {"history_csv": "history.csv"},
        callbacks.RemainingTime: {"every_seconds": 9.0},
        callbacks.StopOnNonFinite: {"max_skipped": 3, "dataset": None},
        callbacks.TensorBoardScalars: {"folder": "runs"},
        callbacks.WorldModelQuality: {
            **{"images": images(), "labels": np.arange(4) % 2},
            **{"train_images": images(), "train_labels": np.arange(4) % 2},
            **{"bank": evaluation.RetrievalBank(8), "every": 2, "num_neighbors": 2},
            **{"retrieval_images": images(), "by_slot": True, "batch_size": 4},
            "swapped_image": True,
        },
        datasets.AugmentedImages: {
            **{"images": images(), "labels": np.arange(4) % 2, "num_classes": 2},
            **{"augmentations": (), "batch_size": 2, "seed": 3},
            **{"drop_remainder": True, "num_channels": 3},
        },
        datasets.ClipArray: {
            **{"clips": images()[None], "labels": np.arange(1), "batch_size": 1},
            **{"num_frames": 2, "frame_stride": 2, "num_channels": 3},
            **{"shuffle": True, "seed": 3, "drop_remainder": True},
        },
        datasets.ClipFolder: {
            **{**FILES, "folder": CLIP_FOLDER, "num_frames": 2, "frame_stride": 2},
            **{"batch_size": 1, "clips_per_video": 2, "num_threads": 2},
            **{"num_processes": 0, "background": 9, "shuffle": True, "seed": 3},
            **{"drop_remainder": True, "max_pixels": 999, "index": None},
        },
        datasets.ImageArray: {
            **{"images": images(), "labels": np.arange(4), "batch_size": 2},
            **{"shuffle": True, "seed": 3, "drop_remainder": True, "num_channels": 3},
        },
        datasets.ImageFolder: {
            **{**FILES, "folder": FOLDER, "batch_size": 2, "seed": 3},
            **{"num_threads": 2, "num_processes": 0, "background": 9},
            **{"shuffle": True, "drop_remainder": True},
            **{"max_pixels": 999, "index": None},
        },
        datasets.ImageShards: {
            **{**FILES, "shards": SHARDS, "batch_size": 2, "seed": 3},
            **{"num_threads": 2, "num_processes": 0, "background": 9},
            **{"shuffle": True, "drop_remainder": True, "max_pixels": 9_999},
            **{"index": None, "num_streams": 2, "shuffle_buffer": 9},
        },
        datasets.MovingPhotos: {
            **{"photos": STILLS, "image_size": 8, "num_frames": 4, "batch_size": 2},
            **{"max_pan": 1.0, "max_log_zoom": 0.1, "max_turn": 1.0, "num_sprites": 1},
            **{"max_speed": 1.0, "clips_per_epoch": 4, "split": "train", "seed": 3},
        },
        datasets.MultiTaskBatches: {
            **{"data": {"one": (images(), np.arange(4))}, "batch_size": 2, "seed": 3},
            **{"batches_per_epoch": 2, "num_channels": 3},
        },
        evaluation.DynamicsEvaluator: {**DYNAMIC_CLIPS, **DYNAMIC_SIZES},
        planning.CrossEntropyPlanner: {**PLANNER, "num_elites": 2, "momentum": 0.1},
        planning.GreedyPlanner: PLANNER,
        planning.PathIntegralPlanner: {**PLANNER, "noise": 0.5, "temperature": 0.2},
        planning.Planner: PLANNER,
        planning.RandomPlanner: PLANNER,
        evaluation.RetrievalBank: {
            **{"size": 8, "shared": [actions.Hue(0.2)], "seed": 3}
        },
        evaluation.InterventionEvaluator: {
            **{"model": MODEL, "train_images": images(), "images": images()},
            **{"photo_ids": None, "clip_maker": None, "num_pairs": 8, "batch_size": 4},
            "verbose": False,
        },
        evaluation.WorldModelEvaluator: EVALUATOR,
        evaluation.EquivarianceEvaluator: EVALUATOR,
        optimizers.AdamW: {
            **{"learning_rate": 0.1, "weight_decay": 0.1, "beta_1": 0.8},
            **{"beta_2": 0.9, "epsilon": 1e-6, "name": "adamw"},
            "learning_rate_multipliers": {"a": 0.1},
        },
        views.ClipViewGenerator: {
            **{"image_size": 16, "num_frames": 2, "crop": views.RandomResizedCrop(16)},
            **{"masks": [views.VideoBlockMask((1, 4, 4))], "num_channels": 3},
            **{"value_range": (0, 255), "seed": 3},
        },
        views.ViewGenerator: {
            **{"image_size": 16, "mask": views.MultiBlockMask(4), "num_channels": 3},
            **{"actions": [actions.Hue(0.1)], "crop": views.RandomResizedCrop(16)},
            **{"value_range": (0, 255), "seed": 3},
        },
    }
    for example in EXAMPLES:
        if type(example) not in (*others, *WITHOUT_ARGUMENTS):
            others[type(example)] = arguments_of(example)
    return others


MODEL = make_world_model()
AUTOREGRESSIVE = models.AutoregressiveModel.from_encoder(
    make_encoder(), normalize_targets=False
)
AUTOENCODER = make_masked_autoencoder()
EVALUATOR = {
    **{"model": MODEL, "images": images(), "bank": evaluation.RetrievalBank(8)},
    **{"batch_size": 4, "swapped_image": True},
}
DYNAMICS = models.LatentDynamicsModel.from_encoder(
    make_encoder(), MAKER.slots, num_frames=4, predictor_layers=1
)
MOVING_CLIPS, CLIP_ACTIONS = MAKER.draw_clips(3)
SURPRISE = evaluation.evaluate_surprise(DYNAMICS, MAKER, 2, ("jumps",))
DYNAMIC_CLIPS = {
    "model": DYNAMICS,
    **dict(zip(("frames", "actions"), MAKER.draw_clips(2), strict=True)),
}
DYNAMIC_CLIPS["frames"] = DYNAMIC_CLIPS["frames"][:, :3]
DYNAMIC_CLIPS["actions"] = DYNAMIC_CLIPS["actions"][:, :2]
DYNAMIC_SIZES = {"num_known": 1, "bank_size": 3, "batch_size": 4, "seed": 3}
PLANNER = {
    **{"model": DYNAMICS, "horizon": 1, "num_samples": 2, "num_iterations": 1},
    **{"batch_size": 2, "seed": 3},
}
DRAWS = np.random.default_rng(0)
FEATURES = DRAWS.normal(size=(8, 6)).astype("float32")
LATENTS = DRAWS.normal(size=(8, 16, 6)).astype("float32")
LABELS = np.arange(8) % 2
LABELLED = {
    **{"train_features": FEATURES, "train_labels": LABELS},
    **{"test_features": FEATURES, "test_labels": LABELS},
}
PICTURES = {"model": MODEL, "images": images(), "bank": evaluation.RetrievalBank(8)}
LATENT_PICTURES = {"images": images(), "grid_size": (4, 4), "value_range": (0, 255)}
RGB = {"rgb_channels": (0, 1, 2)}


def _intervention_report():
    """A report of one slot, as short as one can be."""
    number = {"value": 0.5, "low": 0.4, "high": 0.6}
    scores = ("slope", "diagonal_share", "explained", "cosine_with_told", "mrr")
    slots = dict.fromkeys(("hue", "mean"), dict.fromkeys(scores, number))
    ways = dict.fromkeys(
        ("told", "seen", "moved"), {**slots, "matrix": {"hue": {"hue": number}}}
    )
    probe = dict.fromkeys(("permuted", "untrained", "selectivity"), number)
    return {
        "settings": {
            **{"slots": ["hue"], "layers": ["norm"], "places": [-1.0, 1.0]},
            **{"num_images": 2, "num_photos": 2, "interval": ""},
        },
        "probes": {"norm": dict.fromkeys(slots, {**number, **probe})},
        **{"inside": ways, "outside": ways, "erased": {"nothing": slots}},
        "layers": {"stem": {"alone": slots}},
        "curves": dict.fromkeys(ways, {"hue": [number] * 2}),
        "mrr_chance": 0.5,
    }


def _calls_of_functions():
    interventions = evaluation.InterventionEvaluator(
        MODEL, images(), images(), num_pairs=8, batch_size=16, verbose=False
    )
    report = {
        "settings": {"num_images": 2, "bank_size": 4},
        "retrieval": dict.fromkeys(SECTIONS, {}) | {"slots": {}},
    }
    measured = {
        "rollout": {"model": [{"value": 0.4, "low": 0.3, "high": 0.5}]},
        "relative_error": [0.6],
    }
    evaluator = evaluation.DynamicsEvaluator(**DYNAMIC_CLIPS, **DYNAMIC_SIZES)
    encoder = make_encoder()
    preset = {
        **{"preset": "iwm_tiny_32", "load_weights": False},
        **{"image_size": 32, "patch_size": 8},
        **{"num_channels": 3, "mean": 0.5, "std": 0.2, "value_range": (0, 255)},
        **{"drop_path_rate": 0.1, "remat": False, "jitter_strength": 1.0},
        # The others are handed to `from_encoder`.
        "jitter_probability": 0.8,
    }
    return {
        actions.ActionSpace.default: {
            **{"image_size": (16, 16), "num_channels": 4},
            **{"jitter_strength": 1.0, "jitter_probability": 0.8},
        },
        backbones.read_published: {
            **{**PUBLISHED, "which": "encoder", "positions": None, "num_frames": None}
        },
        backbones.save_transformers: {
            **{"encoder": encoder, "folder": os.path.join(FOLDER, "transformers")}
        },
        datasets.check_clip_folder: {
            **{"folder": CLIP_FOLDER, "num_frames": 2, "frame_stride": 2},
            **{"num_threads": 2, "decode_pixels": False, "max_pixels": 999},
        },
        datasets.check_folder: {
            **{"folder": FOLDER, "decode_pixels": False, "max_pixels": 999},
            "num_threads": 2,
        },
        datasets.check_shards: {
            **{"shards": SHARDS, "decode_pixels": False, "max_pixels": 9_999},
            "num_threads": 2,
        },
        datasets.draw_twins: {
            **{"maker": MAKER, "event": "jumps", "count": 2, "seed": 3},
        },
        datasets.load_images: {
            **{**FILES, "path": FOLDER, "limit": 2, "seed": 3},
        },
        datasets.load_segmentation: {
            **{**FILES, "image_folder": FOLDER, "mask_folder": FOLDER},
            "num_threads": 2,
        },
        datasets.pack_folder: {
            **{"folder": FOLDER, "shard_size": 10**6, "seed": 3},
            "output": os.path.join(tempfile.mkdtemp(), "packed"),
        },
        datasets.pack_parquet: {
            **{"parquet": PARQUET, "shard_size": 10**6, "seed": 3},
            **{"image_column": "image", "label_column": "label"},
            "output": os.path.join(tempfile.mkdtemp(), "packed"),
        },
        datasets.random_photo_crops: {
            **{"photos": list(images()), "num_crops": 2, "crop_size": 4, "seed": 3},
            **{"half": None, "min_deviation": 1.0},
        },
        distribution.own_draws: {"model": MODEL},
        distribution.set_exchange_dtype: {"model": MODEL, "dtype": "float32"},
        distribution.sharded_state_layout: {
            "device_mesh": keras.distribution.DeviceMesh((1,), ("batch",), ["cpu:0"])
        },
        distribution.tensor_parallel_layout: {
            "device_mesh": keras.distribution.DeviceMesh(
                (1, 1), ("batch", "model"), ["cpu:0"]
            )
        },
        downstream.attentive_probe: {
            **{"train_latents": LATENTS, "train_labels": LABELS},
            **{"test_latents": LATENTS, "test_labels": LABELS, "num_heads": 2},
            **{"epochs": 1, "batch_size": 4, "learning_rate": 0.1, "verbose": False},
            **{"weight_decay": 0.1, "seed": 3},
        },
        downstream.finetuning_recipe: {
            **{"model": downstream.ImageClassifier(BACKBONE, 2), "steps": 10},
            **{"batch_size": 4, "learning_rate": 0.1, "layer_decay": 0.5},
            **{"predictor_multiplier": 0.5, "warmup_fraction": 0.1},
            **{"weight_decay": 0.1},
        },
        downstream.linear_probe: {
            **{**LABELLED, "learning_rates": (0.1,), "weight_decays": (0.1,)},
            **{"epochs": 1, "batch_size": 4, "seed": 3, "verbose": False},
        },
        downstream.low_shot_probe: {
            **{**LABELLED, "fraction": 0.5, "num_draws": 2, "seed": 3},
            "probe": evaluation.ridge_accuracy,
        },
        downstream.LatentPredictor.from_world_model: {"model": MODEL},
        downstream.WorldModelBackbone.from_world_model: {
            **{"model": MODEL, "protocol": "end_to_end", "random_predictor": True},
            "drop_path_rate": 0.1,
        },
        embeddings.embed_folder: {
            **{"encoder": encoder, "folder": PHOTOS, "batch_size": 4},
            **{"output": os.path.join(tempfile.mkdtemp(), "embeddings.npz")},
            **{"per_patch": False, "dtype": "float16", "bad_files": "raise"},
            **{"num_processes": 0, "encoder_name": "encoder"},
        },
        evaluation.loss_by_position: {
            **{"model": AUTOREGRESSIVE, "images": images(), "batch_size": 4}
        },
        embeddings.load_embeddings: {"path": _embeddings_file(encoder)},
        evaluation.action_r2: {
            **{"model": MODEL, "train_images": images(), "images": images()},
            **{"num_pairs": 8, "batch_size": 4, "verbose": False},
            "view_generator": views.ViewGenerator(16, crop=None),
        },
        evaluation.compare_features: {
            **{"model": MODEL, "train_images": images(), "test_images": images()},
            **{"train_labels": LABELS[:4], "test_labels": LABELS[:4]},
            "num_neighbors": 2,
        },
        evaluation.camera_distance: {
            **{"cameras": np.zeros((2, 4)), "others": np.ones((2, 4))},
            "image_size": 16,
        },
        evaluation.dynamics_report: {
            **{**DYNAMIC_CLIPS, **DYNAMIC_SIZES, "control": DYNAMICS},
            "motions": np.ones((2, 2)),
        },
        evaluation.energy_landscape: {
            **{"evaluator": evaluator, "slots": MAKER.slots[:2], "num_values": 2},
        },
        evaluation.planning_report: {
            **{"planners": {"random": planning.RandomPlanner(**PLANNER)}},
            **{"maker": MAKER, "num_scenes": 2, "num_steps": 1, "seed": 3},
        },
        evaluation.equivariance_report: {
            **{**PICTURES, "train_images": images(), "control": MODEL},
            **{"num_pairs": 4, "batch_size": 4, "verbose": False},
        },
        evaluation.evaluate_surprise: {
            **{"model": DYNAMICS, "maker": MAKER, "num_pairs": 2, "batch_size": 4},
            **{"events": ("jumps",), "seed": 3},
        },
        evaluation.surprise: {
            **{"model": DYNAMICS, "frames": MOVING_CLIPS, "actions": CLIP_ACTIONS},
            "batch_size": 4,
        },
        evaluation.evaluate_world_model: {
            **{**PICTURES, "batch_size": 4, "by_slot": False, "verbose": False},
        },
        evaluation.extract_features: {
            **{"encoder": encoder, "images": images(), "batch_size": 4},
            **{"verbose": False, "blocks": ("norm",), "pooled": True},
        },
        evaluation.flops_per_image: {
            **{"model": MODEL.predictor, "num_context": 3, "num_targets": 3},
            **{"num_blocks": 1, "training": False},
        },
        evaluation.intervention_report: {"evaluator": interventions, "control": None},
        evaluation.intervention_table: {"report": _intervention_report()},
        evaluation.knn_accuracy: {**LABELLED, "k": 2},
        evaluation.nearest_neighbors: {
            **{"features": FEATURES, "queries": FEATURES, "k": 2}
        },
        evaluation.report_table: {"report": report},
        evaluation.RetrievalBank.doubled: {"size": 8, "seed": 3},
        evaluation.RetrievalBank.for_actions: {
            **{"action_space": MODEL.action_space, "size": 8, "seed": 3}
        },
        evaluation.ridge_accuracy: LABELLED,
        evaluation.untrained_copy: {"model": MODEL, "seed": 3},
        layers.images_of_patches: {
            **{"patches": LATENTS, "grid_size": (4, 4), "patch_size": 1}
        },
        layers.normalize_latents: {"latents": LATENTS},
        layers.normalize_patches: {"patches": LATENTS},
        layers.patch_pixels: {"images": images(), "patch_size": 4},
        layers.rotary_positions: {
            **{"grid_size": (4, 4), "head_dim": 8, "positions": "rotary"}
        },
        layers.sincos_positions: {
            **{"grid_size": (4, 4), "hidden_dim": 8, "resampled_size": (5, 5)},
            **{"columns_first": False, "uniform_power": False},
        },
        metrics.alpha_req: {"features": FEATURES},
        metrics.feature_spread: {"features": FEATURES},
        metrics.lidar: {"features": LATENTS, "delta": 0.1},
        metrics.rank_me: {"features": FEATURES},
        metrics.ranks_from_distances: {
            **{"distances": np.abs(FEATURES), "wanted": np.zeros(8, "int32")}
        },
        metrics.reciprocal_rank_chance: {"num_entries": 8},
        metrics.retrieval_distances: {"predictions": FEATURES, "bank": FEATURES},
        metrics.retrieval_ranks: {
            **{"predictions": FEATURES, "bank": FEATURES},
            "wanted": np.zeros(8, "int32"),
        },
        metrics.uniformity: {"features": FEATURES, "t": 2.0},
        AUTOREGRESSIVE.generate: {
            **{"num_images": None, "images": images(), "num_first": 1, "seed": 3},
            "temperature": 1.0,
        },
        models.AutoregressiveModel.from_encoder: {
            **{"encoder": encoder, "head": "squared_error", "head_layers": 1},
            **{"head_dim": 8, "crop": None, "order": "raster", "seed": 3},
        },
        models.ContrastiveModel.from_encoder: {
            **{"encoder": encoder, "transforms": ((), ()), "crop": None, "seed": 3},
            # Handed to the constructor.
            **{"projector_dims": (8, 4), "predictor_dims": (8, 4)},
        },
        models.ImageWorldModel.from_encoder: {
            **{"encoder": encoder, "actions": (), "conditioning": "none"},
            **{"predictor_layers": 1, "predictor_dim": 8, "predictor_heads": 2},
            **{"crop": None, "mask": None, "seed": 3},
        },
        models.LatentDynamicsModel.from_encoder: {
            **{"encoder": encoder, "slots": ("one", "two"), "state_dim": 2},
            **{"num_frames": 4, "predictor_layers": 1, "predictor_dim": 16},
            "predictor_heads": 2,
        },
        models.MaskedAutoencoder.from_encoder: {
            **{"encoder": encoder, "crop": None, "mask": None, "seed": 3},
            **{"predictor_layers": 1, "predictor_dim": 8, "predictor_heads": 2},
        },
        AUTOENCODER.reconstruct: {"images": images(), "seed": 3},
        backbones.ViTEncoder.from_preset: {
            **{"preset": "iwm_tiny_32", "load_weights": False},
        },
        make_encoder().save_to_preset: {
            **{"folder": tempfile.mkdtemp(), "facts": {}, "weights_dtype": "float32"},
        },
        models.ImageWorldModel.from_preset: preset,
        models.method_of: {"preset": "iwm_tiny_32"},
        models.read_published_video_model: {
            **{**PUBLISHED, "path": _published_video_file(), "image_size": 16},
            "num_frames": 4,
        },
        models.read_published_world_model: PUBLISHED,
        optimizers.pretraining_recipe: {
            **{"steps": 10, "batch_size": 4, "learning_rate": 0.1},
            **{"warmup_fraction": 0.1, "weight_decay": 0.1, "ema_momentum": 0.9},
        },
        saving.check_file: {"path": _model_file()},
        saving.load_encoder: {"path": _model_file()},
        saving.load_model: {"path": _model_file(), "compile": True},
        saving.save_shards: {"model": make_encoder(), "folder": tempfile.mkdtemp()},
        sizing.Device: {
            **{"name": "one", "peak_flops": 1e12, "memory_bytes": 1e9},
            **{"fast_link": 1e9, "slow_link": 1e8, "num_linked": 8},
            **{"num_on_host": 8, "cores_per_device": 8},
        },
        sizing.estimate_run: {
            **{"model": make_world_model(), "num_images": 9, "epochs": 1},
            **{"batch_size": 8, "device": "h100", "num_devices": 2},
            **{"utilisation": 0.4, "overlap": True, "exchange_dtype": "float32"},
            **{"sharded_state": "nothing", "accumulation_steps": 2},
            **{"decode_rate": 9.0, "image_bytes": 9.0, "read_rate": 9.0},
            **{"sharded_checkpoints": True, "write_rate": 9.0, "save_every": 9.0},
        },
        views.mean_jump_length: {"order": "raster", "grid_size": (2, 2)},
        views.patch_order: {"grid_size": (2, 2), "order": "random", "seed": 3},
        visualization.plot_action_sweep: {
            **{**PICTURES, **RGB, "index": 0, "slots": ("hue",), "num_values": 3},
        },
        visualization.plot_attention: {
            **{**LATENT_PICTURES, **RGB, "each_head": False},
            "attention": np.full((4, 16), 1 / 16),
        },
        visualization.plot_clip: {
            **{
                "frames": MOVING_CLIPS,
                "value_range": (0, 255),
                "names": ("a", "b", "c"),
            },
            **RGB,
        },
        visualization.plot_completions: {
            **{"model": AUTOREGRESSIVE, "images": images()[:1], "num_first": 3},
            **{"num_completions": 1, "temperature": 0.5, "seed": 3, **RGB},
        },
        visualization.plot_energy_landscape: {
            "landscape": evaluation.energy_landscape(evaluator, num_values=2),
            **{"paths": {"search": np.zeros((2, 3, 2))}, "num_clips": 1},
        },
        visualization.plot_plan: {
            **{"frames": images(), "goal": images()[0], "paths": {"a": [[1, 2]]}},
            **{"value_range": (0, 255), **RGB},
        },
        visualization.plot_rollout: {
            "report": {"settings": {}, "model": measured, "untrained": measured},
        },
        visualization.plot_interventions: {"report": _intervention_report()},
        visualization.plot_method_comparison: {
            **{"results": {"iwm": [(0.5, 0.4, 0.6)]}, "control": "untrained"},
        },
        visualization.plot_model_comparison: {
            **{"models": {"one": MODEL}, "images": images(), "num_images": 1},
            **{"bank": PICTURES["bank"], **RGB},
        },
        visualization.plot_moved_latents: {
            **{"evaluator": interventions, "index": 0, "slots": ("hue",), **RGB}
        },
        visualization.plot_neighbors: {
            **{"query": images()[0], "neighbors": images(), "value_range": (0, 255)},
            **{"captions": ("a", "b", "c", "d"), **RGB},
        },
        visualization.plot_patch_orders: {
            **{"grid_size": (2, 2), "orders": ("raster",), "seed": 0}
        },
        visualization.plot_patch_pca: {
            **{**LATENT_PICTURES, **RGB, "latents": LATENTS[:4]}
        },
        visualization.plot_reconstructions: {
            **{"model": AUTOENCODER, "images": images(), "seed": 3, **RGB},
        },
        visualization.plot_retrieval: {**PICTURES, "num_images": 1, **RGB},
        visualization.plot_segmentation: {
            **{"images": images(), "masks": images()[..., 0] % 2, **RGB},
            **{"predictions": images()[..., 1] % 2, "class_names": ("one", "two")},
            **{"ignore_label": 1, "value_range": (0, 255)},
        },
        visualization.plot_surprise: {"report": SURPRISE},
        visualization.plot_training_curves: {
            **{"history": {"loss": [2.0, 1.0]}, "summary": {"knn_pixels": 0.5}}
        },
        visualization.save_figure: {
            **{"figure": visualization.plot_training_curves({"loss": [2.0, 1.0]})},
            **{"path": os.path.join(tempfile.mkdtemp(), "a.svg"), "caption": "a"},
        },
        visualization.plot_tuned_parameters: {"results": {"a": [(10, 0.5)]}},
        visualization.plot_undo: {**PICTURES, "num_images": 1, **RGB},
        visualization.plot_views: {
            **{"views": MODEL.view_generator(images()), "grid_size": (4, 4)},
            **{"value_range": (0, 255), "num_images": 2, **RGB},
            "action_slots": MODEL.action_space.slots,
        },
        visualization.plot_view_pairs: {
            **{"views": views.TwoViewGenerator(16)(images()), "value_range": (0, 255)},
            **{"num_images": 2, **RGB},
        },
    }


CALLS = {
    call.__qualname__: (call, arguments)
    for calls in (_calls_of_classes(), _calls_of_functions())
    for call, arguments in calls.items()
}
CASES = [
    (name, argument, label)
    for name, (_, arguments) in CALLS.items()
    for argument in arguments
    for label in HOSTILE
    if argument not in KERAS_OWN and not (label == "10**9" and argument in SIZES)
]


def outcome(name, values, is_right=False):
    """What a call makes of values in the place of right ones.

    Returns "accepted", "refused", or what was wrong with the refusal: it must name the
    value's argument, or, where one of the values could be right, any argument.
    """
    call, arguments = CALLS[name]
    try:
        result = call(**{**arguments, **values})
        if call is distribution.own_draws:
            with result:
                pass
    except (ValueError, TypeError) as error:
        words = set(re.findall(r"\w+", str(error)))
        if words & set(arguments if is_right else values):
            return "refused"
        return f"unnamed {type(error).__name__}: {error}"
    except Exception as error:
        return f"other {type(error).__name__}: {error}"
    return "accepted"
