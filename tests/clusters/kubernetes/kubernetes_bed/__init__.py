"""A real Kubernetes of one node, with an S3 server beside it, in namespaces of its own on this machine.

``Bed`` brings one up, takes it down and breaks parts of it. Standard library only, so that it runs before any
virtual environment is made.
"""

import sys
from pathlib import Path

# What the kernel has is asked of aiflow_ext, which needs no virtual environment for that either.
sys.path.append(str(Path(__file__).resolve().parents[4]))
sys.path.append(str(Path(__file__).resolve().parents[2]))

from kubernetes_bed.api import Api, ApiError
from kubernetes_bed.bed import Bed
from kubernetes_bed.errors import BedError

__all__ = ["Api", "ApiError", "Bed", "BedError"]
