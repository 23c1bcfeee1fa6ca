"""The hyperparameters, each declared once: what is parsed, published and documented is this.

Names, ranges and aliases are those of the SageMaker built-in XGBoost image, so that its jobs run
unchanged, and whatever XGBoost 3.4.1 adds. Three ranges differ, because XGBoost itself differs:
``max_bin`` starts at 2 (0 and 1 stop the training), ``base_score`` may be negative, and
interaction constraints count from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treeline.compute import PATHS
from treeline.hyperparameters.kinds import (
    AutoCount,
    Bins,
    Boolean,
    Categorical,
    CategoricalList,
    Column,
    Columns,
    Continuous,
    Delimiter,
    Device,
    FloatList,
    Integer,
    InteractionConstraints,
    Kind,
    MaxFeatures,
    Metrics,
    MonotoneConstraints,
    Switch,
    Text,
    Texts,
)
from treeline.metrics.names import OBJECTIVES


@dataclass(frozen=True)
class When:
    """A hyperparameter has an effect only where ``name`` is one of ``values`` (none: is given).

    A value ending in ``:`` stands for all that start with it. Some parameters are also read by
    a metric, whatever the objective: ``metrics`` names its families.
    """

    name: str
    values: tuple[str, ...]
    metrics: tuple[str, ...] = ()

    def __str__(self) -> str:
        values = " or ".join(f"{value}*" if value[-1] == ":" else value for value in self.values)
        metrics = f", or the metric {' or '.join(self.metrics)}" if self.metrics else ""
        return f"{self.name}{'=' if values else ''}{values}{metrics}"

    def holds(self, value: object, families: frozenset[str]) -> bool:
        """Return whether ``value`` of ``name``, or a metric's family, makes it take effect."""
        word = str(value)
        named = any(
            word.startswith(item) if item[-1] == ":" else word == item for item in self.values
        )
        given = not self.values and value is not None
        return named or given or not families.isdisjoint(self.metrics)


@dataclass(frozen=True)
class Old:
    """An old value: accepted with a warning, and trained with ``new`` in its place."""

    new: str
    why: str


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter."""

    name: str
    group: str
    kind: Kind
    default: str | None  # what takes effect when it is absent; None where nothing does
    help: str
    aliases: tuple[str, ...] = ()
    tunable: tuple[float, float] | None = None  # the range recommended for a tuner
    needs: tuple[When, ...] = ()
    old: Mapping[str, Old] | None = None
    dead: str = ""  # accepted and ignored; says what to do instead
    # Treeline's own: read by Treeline and never handed to XGBoost as a parameter.
    own: bool = False
    # Whether CreateAlgorithm's form has it; it has no room for all, so not for what another name or
    # a channel says as well, or what has one value.
    form: bool = True


JOB, CHECKPOINTS, CV, DATA, FOREST, GENERAL, TREE, DROPOUT, LINEAR, OBJECTIVE, RANK, DEAD = (
    "Training job",
    "Checkpoints",
    "Cross-validation",
    "Data",
    "Random forest",
    "General",
    "Trees",
    "Dropout",
    "Linear booster",
    "Objective and metrics",
    "Ranking",
    "Without effect",
)
GROUPS = (
    JOB, CHECKPOINTS, CV, DATA, GENERAL, OBJECTIVE, TREE, DROPOUT, RANK, LINEAR, FOREST, DEAD,
)  # fmt: skip
# What boosting reads; a random forest shares some of it.
BOOSTING = (GENERAL, OBJECTIVE, TREE, DROPOUT, RANK, LINEAR)
SHARED = ("nthread", "seed", "objective", "num_class", "eval_metric", "max_depth", "max_leaves")

_TREES = When("booster", ("gbtree", "dart"))
_LINEAR = When("booster", ("gblinear",))
_BINNED = When("tree_method", ("auto", "approx", "hist"))
_RANKS = When("objective", ("rank:",), ("ndcg", "map", "pre"))
_AFT = When("objective", ("survival:aft",))
_FOLDED = When("cv_folds", ())
_FOREST = When("algorithm", ("random_forest",))
_SKLEARN = When("forest_engine", ("sklearn",))
# Only these objectives read it; the others leave XGBoost to call it unused.
_WEIGHTED = ("binary:logistic", "binary:logitraw", "reg:logistic", "reg:squarederror", "reg:gamma")

_ANY_NUMBER = Continuous("(-inf, +inf)")
_FROM_0 = Continuous("[0, +inf)")
_RATIO = Continuous("[0, 1]")
_SHARE = Continuous("(0, 1]")
_COLUMN = Column("a name, or a position: 0 is the first column, -1 the last")
_COLUMNS = Columns('names or positions, such as age,3 or ["a, b", 3]')
_SWITCH = Switch("[auto, true, false]")
_COUNT_FROM_0 = Integer("[0, +inf)")
_COUNT = Integer("[1, +inf)")
_FLAG = Integer("[0, 1]")
_BOOL = Boolean("[true, false]")


def _words(*values: str) -> Categorical:
    return Categorical(f"[{', '.join(values)}]", values)


def _word_list(*values: str) -> CategoricalList:
    return CategoricalList(f"a comma list of {', '.join(values)}", values)


_GONE_UPDATER = "no longer exists in XGBoost and is left out; tree_method chooses the updaters"

_PARAMETERS = (
    # --- the training job ---------------------------------------------------------------
    Parameter(
        "algorithm", JOB, _words("xgboost", "random_forest"), "xgboost",
        "what to train: boosted trees, or a random forest",
        own=True,
    ),
    Parameter(
        "num_round", JOB, _COUNT, None,
        "number of boosting rounds; required by algorithm=xgboost",
        aliases=("num_boost_round",), tunable=(1, 4000), own=True,
    ),
    Parameter(
        "early_stopping_rounds", JOB, _COUNT, None,
        "stop after this many rounds without a better validation score",
        own=True,
    ),
    Parameter(
        "compute", JOB, _words("auto", *PATHS), "auto",
        "where to train, and whether one thing at a time; auto looks at the machine and the hosts",
        own=True,
    ),
    Parameter(
        "device", JOB, Device("[cpu, cuda, cuda:N, gpu, gpu:N]"), None,
        "the same choice in XGBoost's own words; cuda stands for compute=singleGPU",
        own=True, form=False,
    ),
    Parameter(
        "workers", JOB, AutoCount("auto, or a number of processes from 1"), "auto",
        "multiCPU: processes on each host, which share its threads; auto is one, with all of them",
        needs=(When("compute", ("auto", "multiCPU")),), own=True,
    ),
    Parameter(
        "on_host_loss", JOB, _words("fail", "resume"), "fail",
        "several hosts, one of them lost: end, or go on with the others from the last checkpoint",
        own=True,
    ),
    Parameter(
        "dask_tls", JOB, _BOOL, "false",
        "several hosts: encrypt what Dask sends, with the certificates of the channel tls",
        own=True, form=False,
    ),
    Parameter(
        "save_model_on_termination", JOB, _BOOL, "false",
        "keep the model of the rounds done when the job is stopped",
        own=True,
    ),
    Parameter(
        "_tuning_objective_metric", JOB, Text("validation:<metric> or train:<metric>"), None,
        "set by the tuner: the metric it reads, added to eval_metric",
        own=True,
    ),
    Parameter(
        "objective_metric", JOB, Text("<metric>, validation:<metric> or train:<metric>"), None,
        "the metric that final-score is and early stopping follows, added to eval_metric",
        own=True,
    ),
    # --- checkpoints --------------------------------------------------------------------
    Parameter(
        "checkpoint_every", CHECKPOINTS, AutoCount("auto, or a number of rounds from 1"), "auto",
        "rounds (trees of a forest) between checkpoints; auto: 1 while they take 5% of the time",
        own=True,
    ),
    Parameter(
        "checkpoint_keep", CHECKPOINTS, _COUNT, "5",
        "number of superseded checkpoints to keep besides the newest",
        own=True,
    ),
    Parameter(
        "checkpoint_mismatch", CHECKPOINTS, _words("restart", "fail"), "restart",
        "what to do where the folder has checkpoints of other jobs only; both say what differs",
        own=True,
    ),
    Parameter(
        "checkpoint_required", CHECKPOINTS, _BOOL, "false",
        "true: a job that cannot write checkpoints ends; else it goes on with a warning",
        own=True,
    ),
    # --- cross-validation ---------------------------------------------------------------
    Parameter(
        "cv_folds", CV, _COUNT, None,
        "number of folds; 1 is a single random split",
        own=True,
    ),
    Parameter(
        "_kfold", CV, Integer("[2, +inf)"), None,
        "the built-in image's cv_folds: train and validation rows are pooled, fold models are kept",
        own=True,
    ),
    Parameter(
        "cv_repeats", CV, _COUNT, "1",
        "how often to draw the folds anew",
        aliases=("_num_cv_round",), needs=(_FOLDED,), own=True,
    ),
    Parameter(
        "cv_strategy", CV,
        _words(
            "auto", "kfold", "stratified", "group", "stratified_group", "time_series", "shuffle"
        ), "auto",
        "how rows get into folds; auto: by group if there is one, else stratified for classes",
        needs=(_FOLDED,), own=True,
    ),
    Parameter(
        "refit", CV, _BOOL, "true",
        "train the final model on all rows, with the rounds the folds chose",
        needs=(_FOLDED,), own=True,
    ),
    Parameter(
        "keep_fold_models", CV, _BOOL, "false",
        "save every fold's model as well; _kfold always does",
        needs=(_FOLDED,), own=True,
    ),
    # --- data ---------------------------------------------------------------------------
    Parameter(
        "label_column", DATA, _COLUMN, None,
        "column with the label; the first column when absent",
        aliases=("target_column",), own=True,
    ),
    Parameter(
        "weight_column", DATA, _COLUMN, None,
        "column with the weight of the row",
        own=True,
    ),
    Parameter(
        "csv_weights", DATA, _FLAG, "0",
        "1: the second column of CSV files is the weight of the row",
        own=True,
    ),
    Parameter(
        "group_column", DATA, _COLUMN, None,
        "column with the query of a ranking; its rows also stay together in cross-validation",
        own=True,
    ),
    Parameter(
        "time_column", DATA, _COLUMN, None,
        "column that orders the rows for cv_strategy=time_series; it is no feature",
        own=True,
    ),
    Parameter(
        "label_lower_bound_column", DATA, _COLUMN, None,
        "survival:aft: column with the lower bound of the time, in place of a label",
        own=True,
    ),
    Parameter(
        "label_upper_bound_column", DATA, _COLUMN, None,
        "survival:aft: column with the upper bound of the time",
        own=True,
    ),
    Parameter(
        "base_margin_column", DATA, _COLUMNS, None,
        "column with the margin that boosting starts from; one per class or quantile",
        own=True,
    ),
    Parameter(
        "ignore_columns", DATA, _COLUMNS, None,
        "columns that are not read",
        own=True,
    ),
    Parameter(
        "categorical_columns", DATA, _COLUMNS, None,
        "columns whose numbers are categories too; columns of text always are",
        own=True,
    ),
    Parameter(
        "csv_header", DATA, _SWITCH, "auto",
        "whether the first row of CSV files names the columns; auto looks at it",
        own=True,
    ),
    Parameter(
        "csv_delimiter", DATA, Delimiter("[auto, comma, tab, semicolon, pipe, space]"), "auto",
        "what stands between the fields of CSV files, by name or as the character itself",
        own=True,
    ),
    Parameter(
        "missing_values", DATA, Texts('texts, such as NA,-999 or ["a, b", "?"]'), None,
        "fields that mean missing, in place of the usual list; an empty field always does",
        own=True,
    ),
    Parameter(
        "missing_label", DATA, _words("fail", "drop"), "fail",
        "what to do about rows without a label: refuse them, or leave them out and say how many",
        own=True,
    ),
    Parameter(
        "dataset_preset", DATA, _words("none", "airline", "nyc_taxi"), "none",
        "column roles of a well-known data set, where they are not given",
        own=True,
    ),
    Parameter(
        "hive_partitions", DATA, _BOOL, "false",
        "read folders named key=value as further columns, after those of the files",
        own=True,
    ),
    Parameter(
        "leakage", DATA, _words("warn", "fail", "ignore"), "warn",
        "what to do about rows or groups in both train and validation, or twice in train",
        own=True,
    ),
    Parameter(
        "external_memory", DATA, _SWITCH, "auto",
        "keep the binned rows on disk; auto does so when they would not fit the memory",
        own=True,
    ),
    # --- general ------------------------------------------------------------------------
    Parameter(
        "booster", GENERAL, _words("gbtree", "gblinear", "dart"), "gbtree",
        "trees or a linear model; dart is gbtree with dropout",
        old={
            "gblinear": Old("gblinear", "is deprecated in XGBoost and will go; prefer gbtree"),
            "dart": Old(
                "dart", "is deprecated in XGBoost; booster=gbtree takes the dropout parameters too"
            ),
        },
    ),
    Parameter("verbosity", GENERAL, Integer("[0, 3]"), "1", "how much XGBoost says: 0 to 3"),
    Parameter(
        "nthread", GENERAL, _COUNT, None,
        "number of threads; all that the container may use when absent",
        aliases=("n_jobs",), own=True,
    ),
    Parameter(
        "seed", GENERAL, Integer("(-2147483648, 2147483647)"), "0",
        "seed of row, column and dropout sampling",
        aliases=("random_state",),
    ),
    Parameter(
        "seed_per_iteration", GENERAL, _BOOL, "true",
        "seed every round anew, so that a resumed job grows the same trees",
    ),
    # --- objective and metrics ----------------------------------------------------------
    Parameter(
        "objective", OBJECTIVE, _words(*OBJECTIVES), "reg:squarederror",
        "what to learn",
        old={"reg:linear": Old("reg:squarederror", "is now called reg:squarederror")},
    ),
    Parameter(
        "num_class", OBJECTIVE, Integer("[2, +inf)"), None,
        "number of classes; required by multi:*",
    ),
    Parameter(
        "eval_metric", OBJECTIVE, Metrics("a comma list of metric names"), None,
        "metrics to report each round; early stopping follows the last one",
        own=True,
    ),
    Parameter(
        "disable_default_eval_metric", OBJECTIVE, _BOOL, "false",
        "report only the metrics that eval_metric names; true needs an eval_metric",
    ),
    Parameter(
        "base_score", OBJECTIVE, _ANY_NUMBER, None,
        "first prediction of every row; estimated from the labels when absent",
    ),
    Parameter(
        "scale_pos_weight", OBJECTIVE, Continuous("(0, +inf)"), "1",
        "factor on the weight of rows with label 1",
        needs=(When("objective", _WEIGHTED),),
    ),
    Parameter(
        "tweedie_variance_power", OBJECTIVE, Continuous("(1, 2)"), "1.5",
        "reg:tweedie: near 1 is Poisson-like, near 2 gamma-like",
        needs=(When("objective", ("reg:tweedie",)),),
    ),
    Parameter(
        "huber_slope", OBJECTIVE, Continuous("(0, +inf)"), "1",
        "reg:pseudohubererror: where the squared loss bends into a straight line",
        needs=(When("objective", ("reg:pseudohubererror",), ("mphe",)),),
    ),
    Parameter(
        "quantile_alpha", OBJECTIVE, FloatList("ascending numbers, each in [0, 1]"), None,
        "quantiles to predict, one output each; required by reg:quantileerror",
        needs=(When("objective", ("reg:quantileerror",)),),
    ),
    Parameter(
        "expectile_alpha", OBJECTIVE, FloatList("ascending numbers, each in [0, 1]"), None,
        "expectiles to predict, one output each; required by reg:expectileerror",
        needs=(When("objective", ("reg:expectileerror",)),),
    ),
    Parameter(
        "aft_loss_distribution", OBJECTIVE, _words("normal", "logistic", "extreme"), "normal",
        "survival:aft: distribution of the error",
        needs=(_AFT,),
    ),
    Parameter(
        "aft_loss_distribution_scale", OBJECTIVE, _FROM_0, "1",
        "survival:aft: scale of that distribution",
        needs=(_AFT,),
    ),
    # --- trees --------------------------------------------------------------------------
    Parameter(
        "eta", TREE, _RATIO, "0.3",
        "how much of each new tree is added (gblinear: 0.5)",
        aliases=("learning_rate",), tunable=(0.1, 0.5),
    ),
    Parameter(
        "gamma", TREE, _FROM_0, "0",
        "least gain that justifies a split",
        aliases=("min_split_loss",), tunable=(0, 5), needs=(_TREES,),
    ),
    Parameter(
        "max_depth", TREE, _COUNT_FROM_0, "6",
        "depth of a tree; 0 is no limit; absent, a random forest takes 16",
        tunable=(0, 10), needs=(_TREES,),
    ),
    Parameter(
        "min_child_weight", TREE, _FROM_0, "1",
        "least sum of hessians in a leaf",
        tunable=(0, 120), needs=(_TREES,),
    ),
    Parameter(
        "max_delta_step", TREE, _FROM_0, "0",
        "bound on the value of a leaf; 0 is none (count:poisson: 0.7)",
        tunable=(0, 10), needs=(_TREES,),
    ),
    Parameter(
        "subsample", TREE, _SHARE, "1",
        "share of the rows each tree sees",
        tunable=(0.5, 1), needs=(_TREES,),
    ),
    Parameter(
        "sampling_method", TREE, _words("uniform", "gradient_based"), "uniform",
        "how subsample draws rows: all alike, or by the size of their gradient",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "colsample_bytree", TREE, _SHARE, "1",
        "share of the columns each tree sees",
        tunable=(0.5, 1), needs=(_TREES,),
    ),
    Parameter(
        "colsample_bylevel", TREE, _SHARE, "1",
        "share of those columns each level sees",
        tunable=(0.1, 1), needs=(_TREES,),
    ),
    Parameter(
        "colsample_bynode", TREE, _SHARE, "1",
        "share of those columns each split sees",
        tunable=(0.1, 1), needs=(_TREES,),
    ),
    Parameter(
        "lambda", TREE, _FROM_0, "1",
        "L2 penalty on leaf values (gblinear: 0)",
        aliases=("reg_lambda",), tunable=(0, 1000),
    ),
    Parameter(
        "alpha", TREE, _FROM_0, "0",
        "L1 penalty on leaf values",
        aliases=("reg_alpha",), tunable=(0, 1000),
    ),
    Parameter(
        "tree_method", TREE, _words("auto", "exact", "approx", "hist", "gpu_hist"), "auto",
        "how splits are searched; auto is hist",
        needs=(_TREES,),
        old={
            "gpu_hist": Old(
                "hist", "is gone from XGBoost: trained with hist; use compute to ask for a GPU"
            )
        },
    ),
    Parameter(
        "grow_policy", TREE, _words("depthwise", "lossguide"), "depthwise",
        "which node to split next: the shallowest, or the one that gains most",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "max_leaves", TREE, _COUNT_FROM_0, "0",
        "number of leaves of a tree; 0 is no limit",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "max_bin", TREE, Integer("[2, +inf)"), "256",
        "number of bins a column is cut into",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "num_parallel_tree", TREE, _COUNT, "1",
        "number of trees per round; more than 1 boosts small forests",
        needs=(_TREES,),
    ),
    Parameter(
        "monotone_constraints", TREE,
        MonotoneConstraints("-1, 0 or 1 per feature, such as (1,0,-1)"), None,
        "direction in which the prediction may follow each feature",
        needs=(_TREES,),
    ),
    Parameter(
        "interaction_constraints", TREE,
        InteractionConstraints("groups of feature indices from 0, such as [[0,1],[2,3]]"), None,
        "features that may meet in one branch; the first feature is 0",
        needs=(_TREES,),
    ),
    Parameter(
        "multi_strategy", TREE, _words("one_output_per_tree", "multi_output_tree"),
        "one_output_per_tree",
        "several outputs: a tree for each, or vectors in the leaves (hist only)",
        needs=(_TREES,),
    ),
    Parameter(
        "max_cat_to_onehot", TREE, _COUNT, "4",
        "categories of a column up to which each is split off alone",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "max_cat_threshold", TREE, _COUNT, "64",
        "categories considered for one side of a split",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "max_cached_hist_node", TREE, _COUNT, None,
        "number of histograms kept in memory; unlimited when absent",
        needs=(_TREES, _BINNED),
    ),
    Parameter(
        "updater", TREE,
        _word_list(
            "grow_colmaker", "distcol", "grow_histmaker", "grow_quantile_histmaker",
            "grow_skmaker", "sync", "refresh", "prune", "shotgun", "coord_descent",
        ), None,
        "the tree or linear updaters by name, in place of tree_method",
        old={name: Old("", _GONE_UPDATER) for name in ("distcol", "grow_skmaker", "sync")},
    ),
    Parameter(
        "process_type", TREE, _words("default", "update"), "default",
        "default grows new trees, also on top of a model channel's; update is refused",
        needs=(_TREES,),
        form=False,
    ),
    # --- dropout ------------------------------------------------------------------------
    Parameter(
        "rate_drop", DROPOUT, _RATIO, "0",
        "share of the earlier trees dropped in a round",
        needs=(_TREES,),
    ),
    Parameter(
        "one_drop", DROPOUT, _FLAG, "0",
        "1: drop at least one tree in every round",
        needs=(_TREES,),
    ),
    Parameter(
        "skip_drop", DROPOUT, _RATIO, "0",
        "chance of a round without dropout",
        needs=(_TREES,),
    ),
    Parameter(
        "sample_type", DROPOUT, _words("uniform", "weighted"), "uniform",
        "drop trees alike, or heavy ones more often",
        needs=(_TREES,),
    ),
    Parameter(
        "normalize_type", DROPOUT, _words("tree", "forest"), "tree",
        "weight of a new tree: like one dropped tree, or like all of them",
        needs=(_TREES,),
    ),
    # --- ranking ------------------------------------------------------------------------
    Parameter(
        "lambdarank_pair_method", RANK, _words("topk", "mean"), "topk",
        "pairs from the top of the list, or sampled from all of it",
        needs=(_RANKS,),
    ),
    Parameter(
        "lambdarank_num_pair_per_sample", RANK, _COUNT, None,
        "depth of the top (32 when absent), or pairs sampled per row (1)",
        needs=(_RANKS,),
    ),
    Parameter(
        "lambdarank_normalization", RANK, _BOOL, "true",
        "scale gradients by the size of the list",
        needs=(_RANKS,),
    ),
    Parameter(
        "lambdarank_score_normalization", RANK, _BOOL, "true",
        "scale gradients by the difference of the scores",
        needs=(_RANKS,),
    ),
    Parameter(
        "lambdarank_unbiased", RANK, _BOOL, "false",
        "correct for clicks that depend on the position",
        needs=(_RANKS,),
    ),
    Parameter(
        "lambdarank_bias_norm", RANK, _FROM_0, "1",
        "penalty of that correction",
        needs=(_RANKS,),
    ),
    Parameter(
        "ndcg_exp_gain", RANK, _BOOL, "true",
        "gain 2^label - 1 in ndcg; false takes the label itself",
        needs=(_RANKS,),
    ),
    # --- linear -------------------------------------------------------------------------
    Parameter(
        "feature_selector", LINEAR, _words("cyclic", "shuffle", "random", "greedy", "thrifty"),
        "cyclic",
        "order in which features are updated",
        needs=(_LINEAR,),
    ),
    Parameter(
        "top_k", LINEAR, _COUNT_FROM_0, "0",
        "features updated per round by greedy and thrifty; 0 is all",
        needs=(_LINEAR, When("feature_selector", ("greedy", "thrifty"))),
    ),
    # --- random forest ------------------------------------------------------------------
    Parameter(
        "n_estimators", FOREST, _COUNT, "100",
        "number of trees",
        tunable=(10, 500), needs=(_FOREST,), own=True,
    ),
    Parameter(
        "forest_engine", FOREST, _words("sklearn", "xgboost"), "sklearn",
        "who grows the trees: scikit-learn, or XGBoost on bins, which takes far less time",
        needs=(_FOREST,), own=True,
    ),
    Parameter(
        "max_features", FOREST,
        MaxFeatures("sqrt, log2, a share in (0, 1], or a number of columns"), None,
        "columns each split looks at; sqrt when absent for classes, all for numbers",
        tunable=(0.1, 1), needs=(_FOREST,), own=True,
    ),
    Parameter(
        "n_bins", FOREST, Bins("[2, +inf)"), None,
        "bins a column is cut into; absent: sklearn looks at every value, xgboost takes 256",
        needs=(_FOREST,), own=True,
    ),
    Parameter(
        "bootstrap", FOREST, _BOOL, "true",
        "each tree sees rows drawn anew (xgboost: 63% of them); false: each sees all",
        needs=(_FOREST,), own=True,
    ),
    Parameter(
        "min_samples_split", FOREST, Integer("[2, +inf)"), "2",
        "least number of rows a node needs to be split",
        needs=(_FOREST, _SKLEARN), own=True,
    ),
    Parameter(
        "min_samples_leaf", FOREST, _COUNT, "1",
        "least number of rows in a leaf; xgboost sums their weights where they have some",
        needs=(_FOREST,), own=True,
    ),
    Parameter(
        "criterion", FOREST,
        _words(
            "gini", "entropy", "log_loss", "squared_error", "absolute_error", "friedman_mse",
            "poisson",
        ), None,
        "what a split improves: gini when absent for classes, squared_error for numbers",
        needs=(_FOREST,), own=True,
        old={"friedman_mse": Old("squared_error", "has always been squared_error in a forest")},
    ),
    # --- accepted, without effect -------------------------------------------------------
    Parameter(
        "use_dask_gpu_training", DEAD, _BOOL, "false",
        "true is read as compute=multiGPU",
        dead="is gone; compute=multiGPU says the same", own=True,
    ),
    Parameter(
        "refresh_leaf", DEAD, _FLAG, "1",
        "process_type=update: whether to renew the leaf values",
        dead="belongs to process_type=update, which is refused",
    ),
    Parameter(
        "sketch_eps", DEAD, Continuous("(0, 1)"), None,
        "precision of the old quantile sketch",
        dead="is gone from XGBoost; max_bin sets the precision (about 1 / sketch_eps)",
    ),
    Parameter(
        "predictor", DEAD, _words("auto", "cpu_predictor", "gpu_predictor"), None,
        "where to predict",
        dead="is gone from XGBoost; it predicts where compute trains",
    ),
    Parameter(
        "dsplit", DEAD, _words("row", "col"), None,
        "how hosts share the data",
        dead="is gone from XGBoost; hosts share rows",
    ),
    Parameter(
        "deterministic_histogram", DEAD, _BOOL, None,
        "GPU histograms in a fixed order",
        dead="is gone from XGBoost; its histograms are always deterministic",
    ),
    Parameter(
        "prob_buffer_row", DEAD, Integer("(1, +inf)"), None,
        "buffer of the old updaters",
        dead="is gone from XGBoost together with the updater that read it",
    ),
    Parameter(
        "lambda_bias", DEAD, _RATIO, None,
        "L2 penalty on the bias of gblinear",
        dead="is gone from XGBoost; gblinear has no penalty on the bias",
    ),
)  # fmt: skip

TABLE: Mapping[str, Parameter] = {parameter.name: parameter for parameter in _PARAMETERS}
ALIASES: Mapping[str, str] = {
    alias: parameter.name for parameter in _PARAMETERS for alias in parameter.aliases
}
