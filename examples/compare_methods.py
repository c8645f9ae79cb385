"""Compare methods of pretraining at equal compute, on your own images.

The program to read and to copy from is `keras_iwm/commands/compare.py`.
After `pip install` it is `keras-iwm compare`; `--help` tells more.
"""

from keras_iwm.commands.compare import main

main()
