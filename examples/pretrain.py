"""Pretrain an image world model, or I-JEPA, on your own images.

The program to read and to copy from is `keras_iwm/commands/pretrain.py`.
After `pip install` it is `keras-iwm pretrain`; `--help` tells more.
"""

from keras_iwm.commands.pretrain import main

main()
