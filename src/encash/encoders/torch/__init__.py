"""The reference transformer in torch: its model, its files and its encoder."""

from encash.encoders.torch.devices import choose_device
from encash.encoders.torch.encoder import TorchEncoder
from encash.encoders.torch.files import Checkpoint, build_model, load_tensors, read_checkpoint, save_checkpoint
from encash.encoders.torch.load import load_torch_encoder
from encash.encoders.torch.model import ReferenceTransformer, new_model

__all__ = [
    "Checkpoint",
    "ReferenceTransformer",
    "TorchEncoder",
    "build_model",
    "choose_device",
    "load_tensors",
    "load_torch_encoder",
    "new_model",
    "read_checkpoint",
    "save_checkpoint",
]
