"""Training on several devices."""

from keras_iwm.backend import own_draws as own_draws
from keras_iwm.distribution.set_exchange_dtype import (
    set_exchange_dtype as set_exchange_dtype,
)
from keras_iwm.distribution.sharded_state_layout import (
    sharded_state_layout as sharded_state_layout,
)
from keras_iwm.distribution.tensor_parallel_layout import (
    tensor_parallel_layout as tensor_parallel_layout,
)
