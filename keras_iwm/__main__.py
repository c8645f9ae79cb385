"""`python -m keras_iwm` is the program `keras-iwm`."""

import sys

from keras_iwm.command_line import main

sys.exit(main())
