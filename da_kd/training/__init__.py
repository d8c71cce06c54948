"""Training: the one room for ultralytics' trainer. *teach*, *distill*, *finetune* and the baselines all train here."""

from da_kd.training.adapt import adapt, adapt_batch_norm
from da_kd.training.arguments import warmup_epochs
from da_kd.training.beforehand import training_problems
from da_kd.training.mixing import Extra, mixed
from da_kd.training.object_edges import match_edges
from da_kd.training.refresh import Refresh
from da_kd.training.signals import Signals, doubtful
from da_kd.training.task import Score, Setting, TrainingResult, TrainingTask, read_result
from da_kd.training.train import train

__all__ = [
    "Extra",
    "Refresh",
    "Score",
    "Setting",
    "Signals",
    "TrainingResult",
    "TrainingTask",
    "adapt",
    "adapt_batch_norm",
    "doubtful",
    "match_edges",
    "mixed",
    "read_result",
    "train",
    "training_problems",
    "warmup_epochs",
]
