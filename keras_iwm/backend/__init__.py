"""The only room that names a backend: what differs between them, under one name each.

`operations` are Keras's own forms, which hold everywhere. A backend that has something
faster, or that works in another way, has files of its name, and this one chooses.
"""

import keras

from keras_iwm.backend.export_formats import SUFFIXES as SUFFIXES
from keras_iwm.backend.export_formats import export_arguments as export_arguments
from keras_iwm.backend.faults import loss_tracker as loss_tracker
from keras_iwm.backend.operations import rotate as rotate
from keras_iwm.backend.own_draws import own_draws as own_draws
from keras_iwm.backend.own_draws import seed_states as seed_states
from keras_iwm.backend.replicas import Replicas as Replicas

if keras.backend.backend() == "jax":
    from keras_iwm.backend.jax_kept_state import JaxKeptState as KeptState
    from keras_iwm.backend.jax_operations import attend as attend
    from keras_iwm.backend.jax_operations import computed_once as computed_once
    from keras_iwm.backend.jax_operations import gelu as gelu
    from keras_iwm.backend.jax_operations import layer_norm as layer_norm
    from keras_iwm.backend.jax_operations import product as product
    from keras_iwm.backend.jax_pieces import assign_pieces as assign_pieces
    from keras_iwm.backend.jax_pieces import pieces_of as pieces_of
    from keras_iwm.backend.jax_pieces import read_piece as read_piece
    from keras_iwm.backend.jax_processes import alone as alone
    from keras_iwm.backend.jax_processes import ask_all as ask_all
    from keras_iwm.backend.jax_processes import copy_of as copy_of
    from keras_iwm.backend.jax_processes import count_processes as count_processes
    from keras_iwm.backend.jax_processes import process_index as process_index
    from keras_iwm.backend.jax_programs import compile_apart as compile_apart
    from keras_iwm.backend.jax_step import peek as peek
    from keras_iwm.backend.jax_step import sound_step as sound_step
    from keras_iwm.backend.jax_step import take_step as take_step
    from keras_iwm.backend.operations import fused_update as fused_update
else:
    from keras_iwm.backend.kept_state import KeptState as KeptState
    from keras_iwm.backend.operations import assign_pieces as assign_pieces
    from keras_iwm.backend.operations import attend as attend
    from keras_iwm.backend.operations import computed_once as computed_once
    from keras_iwm.backend.operations import copy_of as copy_of
    from keras_iwm.backend.operations import peek as peek
    from keras_iwm.backend.operations import read_piece as read_piece
    from keras_iwm.backend.operations import take_step as take_step

if keras.backend.backend() == "torch":
    from keras_iwm.backend.operations import compile_apart as compile_apart
    from keras_iwm.backend.operations import gelu as gelu
    from keras_iwm.backend.torch_block import fused_branches as fused_branches
    from keras_iwm.backend.torch_block import needs_no_call as needs_no_call
    from keras_iwm.backend.torch_compiled_parts import (
        TorchCompiledParts as CompiledParts,
    )
    from keras_iwm.backend.torch_compiled_parts import run_pure as run_pure
    from keras_iwm.backend.torch_operations import clip as clip
    from keras_iwm.backend.torch_operations import (
        distances_between as distances_between,
    )
    from keras_iwm.backend.torch_operations import layer_norm as layer_norm
    from keras_iwm.backend.torch_operations import product as product
    from keras_iwm.backend.torch_pieces import pieces_of as pieces_of
    from keras_iwm.backend.torch_processes import alone as alone
    from keras_iwm.backend.torch_processes import ask_all as ask_all
    from keras_iwm.backend.torch_processes import count_processes as count_processes
    from keras_iwm.backend.torch_processes import process_index as process_index
    from keras_iwm.backend.torch_processes import settle as settle
    from keras_iwm.backend.torch_replicas import TorchReplicas as make_replicas
    from keras_iwm.backend.torch_replicas import gather_batch as gather_batch
    from keras_iwm.backend.torch_step import sound_step as sound_step
    from keras_iwm.backend.torch_update import fused_update as fused_update
    from keras_iwm.backend.torch_update import move_towards as move_towards
else:
    from keras_iwm.backend.compiled_parts import CompiledParts as CompiledParts
    from keras_iwm.backend.operations import clip as clip
    from keras_iwm.backend.operations import distances_between as distances_between
    from keras_iwm.backend.operations import fused_branches as fused_branches
    from keras_iwm.backend.operations import move_towards as move_towards
    from keras_iwm.backend.operations import needs_no_call as needs_no_call
    from keras_iwm.backend.operations import run_pure as run_pure
    from keras_iwm.backend.processes import settle as settle

if keras.backend.backend() == "tensorflow":
    from keras_iwm.backend.operations import layer_norm as layer_norm
    from keras_iwm.backend.operations import pieces_of as pieces_of
    from keras_iwm.backend.processes import alone as alone
    from keras_iwm.backend.processes import ask_all as ask_all
    from keras_iwm.backend.processes import count_processes as count_processes
    from keras_iwm.backend.processes import process_index as process_index
    from keras_iwm.backend.tensorflow_operations import gelu as gelu
    from keras_iwm.backend.tensorflow_operations import product as product
    from keras_iwm.backend.tensorflow_operations import (
        traces_any_size as traces_any_size,
    )
    from keras_iwm.backend.tensorflow_programs import compile_apart as compile_apart
    from keras_iwm.backend.tensorflow_replicas import (
        TensorFlowReplicas as make_replicas,
    )
    from keras_iwm.backend.tensorflow_replicas import gather_batch as gather_batch
    from keras_iwm.backend.tensorflow_step import sound_step as sound_step
    from keras_iwm.backend.tensorflow_update import fused_update as fused_update
else:
    from keras_iwm.backend.operations import traces_any_size as traces_any_size

if keras.backend.backend() == "jax":
    from keras_iwm.backend.operations import gather_batch as gather_batch

    make_replicas = Replicas
