"""Accelerators by name."""

from keras_iwm.sizing.device import Device

GIB = 2**30
_ROWS = (
    # A host is one of the makers' own: DGX, HGX or a cloud's; its cores are physical.
    ("h100", 989e12, 80 * GIB, 450e9, 50e9, 8, 8, 14),
    ("h200", 989e12, 141e9, 450e9, 50e9, 8, 8, 14),
    ("b200", 2250e12, 180e9, 900e9, 50e9, 8, 8, 14),
    ("a100", 312e12, 80 * GIB, 300e9, 25e9, 8, 8, 16),
    # Without a link of their own: PCIe 4.0 with 16 lanes, and a share of 100 Gbit/s.
    ("l4", 121e12, 24 * GIB, 32e9, 1.56e9, 8, 8, 6),
    # A desktop's, two of them, and 10 Gbit/s.
    ("rtx4090", 165e12, 24 * GIB, 32e9, 0.625e9, 2, 2, 8),
    # TPUs: all links of a chip; pods are linked by the hosts' network.
    ("tpu_v5e", 197e12, 16 * GIB, 200e9, 3.1e9, 256, 8, 14),
    ("tpu_v5p", 459e12, 95 * GIB, 600e9, 6.25e9, 8960, 4, 26),
)
DEVICES = {row[0]: Device(*row) for row in _ROWS}
"""Accelerators by name, with the figures that their makers publish."""
