"""Pictures in batches for Keras's fit, evaluate and predict."""

import numpy as np
import tensorflow as tf


def batches(size: int, *arrays: np.ndarray) -> tf.data.Dataset:
    """The rows of arrays of equal length, in their order, `size` at a time: tuples of [<= size, ...].

    Keras would do the same of its own accord, but with tf.data's tuner, which looks at its clock at ever
    longer intervals and keeps a finished epoch waiting for the next look: up to a minute for nothing.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size).prefetch(2).with_options(options)
