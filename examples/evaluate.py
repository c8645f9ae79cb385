"""Measure what a trained image world model knows of actions, on your own images.

The program to read and to copy from is `keras_iwm/commands/evaluate.py`.
After `pip install` it is `keras-iwm evaluate`; `--help` tells more.
"""

from keras_iwm.commands.evaluate import main

main()
