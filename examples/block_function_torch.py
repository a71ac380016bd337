"""Train a small PyTorch model, full batch and coded, while a worker is killed on the way.

    pip install torch && python examples/block_function_torch.py

PyTorch finds the gradient on each worker; nothing else differs from ``block_function.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from block_function import digits, train

try:
    import torch
    from torch import nn
    from torch.nn.utils import parameters_to_vector, vector_to_parameters
except ImportError:
    raise SystemExit(
        "This example needs PyTorch: pip install torch. "
        "(examples/block_function.py does the same in plain NumPy.)"
    ) from None


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10)).double()


def cross_entropy(w: Any, block: Any) -> tuple[float, Any]:
    """Return the loss of a block, summed over its rows, and its gradient."""
    torch.set_num_threads(1)  # more would take the other workers' cores
    net = model()
    vector_to_parameters(torch.tensor(w), net.parameters())
    outputs = net(torch.tensor(block.X))
    loss = nn.functional.cross_entropy(outputs, torch.tensor(block.y).long(), reduction="sum")
    loss.backward()
    gradient = parameters_to_vector([parameter.grad for parameter in net.parameters()])
    return loss.item(), gradient.numpy()


def main() -> None:
    X, X_test, y, y_test = digits()
    torch.manual_seed(0)
    net = model()
    w0 = parameters_to_vector(net.parameters()).detach().numpy()
    print(f"a PyTorch model of {w0.size:,} parameters on {len(y):,} digits")
    undisturbed = train(cross_entropy, w0, X, y)
    killed = train(cross_entropy, w0, X, y, kill_after=10)
    vector_to_parameters(torch.tensor(killed), net.parameters())
    predicted = net(torch.tensor(X_test)).argmax(dim=1).numpy()
    print(f"test accuracy: {np.mean(predicted == y_test):.3f}")
    print(f"largest difference of a parameter: {np.abs(killed - undisturbed).max():.1e}")


if __name__ == "__main__":
    main()
