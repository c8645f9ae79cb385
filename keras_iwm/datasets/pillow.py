"""What the datasets share that needs Pillow, which is imported only when used."""


def require_pillow():
    """Raises a clear error if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow: `pip install keras-iwm[images]`."
        ) from error


def fit_image(image, image_size):
    """Returns a PIL image upright, RGB, resized to cover the size and centre-cropped.

    Args:
        image: `PIL.Image.Image` of 8 bits a channel.
        image_size: Tuple `(height, width)`.
    """
    from PIL import Image, ImageOps

    if image.mode.startswith(("I", "F")):
        # Pillow would cut these values off at 255 without a word.
        raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}")
    image = ImageOps.exif_transpose(image).convert("RGB")
    height, width = image_size
    return ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
