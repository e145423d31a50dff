"""Tasks on the workers of a Ray cluster. Only the driver commits entries."""

from encash.cache.executors.ray.executor import RayExecutor as RayExecutor
from encash.cache.executors.ray.workers import RayWorkers as RayWorkers
