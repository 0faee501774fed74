"""What all tests of the training share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    # Threads that wait for each other cost a tiny network more than its products.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
