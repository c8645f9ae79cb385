"""What a world model's actions really do, for models of images and of clips."""

from keras_iwm.arguments import as_object
from keras_iwm.array_arguments import check_images
from keras_iwm.evaluation.bank_ranking import predicts_actions
from keras_iwm.evaluation.clip_changes import ClipChanges
from keras_iwm.evaluation.image_changes import ImageChanges
from keras_iwm.evaluation.world_model_parts import predicts_frames


def check_model(model):
    """Refuse what has no latents to be moved, or knows no action."""
    needed = ("feature_encoder", "encoder", "image_size", "value_range", "num_channels")
    as_object("model", model, needed, "a world model such as an ImageWorldModel")
    if predicts_frames(model):
        if model.state_dim:
            raise ValueError(
                "`model` must predict from latents and actions alone. Received one "
                f"with states of {model.state_dim} numbers."
            )
    elif not predicts_actions(model) or not getattr(model, "predicts_latents", False):
        raise ValueError(
            "`model` must predict latents after actions that both views share. "
            f"Received: {type(model).__name__}."
        )


def changes_of(model, clip_maker, images, name):
    """What actions make of images, or of scenes, after checking them."""
    if predicts_frames(model):
        return ClipChanges(model, clip_maker, images, name)
    if clip_maker is not None:
        raise ValueError(
            "`clip_maker` is for a LatentDynamicsModel. Received one beside a model of "
            "images, whose own operations change them. Leave it out."
        )
    facts = (model.image_size, model.value_range)
    return ImageChanges(model, check_images(images, *facts, name, model.num_channels))
