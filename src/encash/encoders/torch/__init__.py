"""The reference transformer in torch: model, files and encoder. Imported when the first model is loaded."""

from encash.encoders.torch.encoder import TorchEncoder, choose_device
from encash.encoders.torch.files import Checkpoint, build_model, load_tensors, read_checkpoint, save_checkpoint
from encash.encoders.torch.load import TorchOptions, load_torch_encoder
from encash.encoders.torch.model import ReferenceTransformer, new_model

__all__ = [
    "Checkpoint",
    "ReferenceTransformer",
    "TorchEncoder",
    "TorchOptions",
    "build_model",
    "choose_device",
    "load_tensors",
    "load_torch_encoder",
    "new_model",
    "read_checkpoint",
    "save_checkpoint",
]
