"""The `array` tier: estimators that read no column names get a matrix in place of a DataFrame.

Only what is named here is taken, by its exact type: an estimator that looks at columns (ColumnTransformer and its
like), or one that somebody derived, is not in the list. scikit-learn warns with every call when an estimator was fitted
with names and gets none; so a copy is asked that has forgotten them. It shares all that was fitted; the model itself is
not touched. The copy also has `n_jobs=1`.
"""

import copy
from typing import Any

from penstock.flavors.kernels.library import is_one_of
from penstock.flavors.kernels.linear import REGRESSORS
from penstock.flavors.kernels.pipeline import PIPELINE, is_passed

_ESTIMATORS = {
    "sklearn.linear_model": (
        "LogisticRegression",
        "LogisticRegressionCV",
        "SGDClassifier",
        "SGDRegressor",
        "Perceptron",
        "PassiveAggressiveClassifier",
        "PassiveAggressiveRegressor",
        "RidgeClassifier",
        "RidgeClassifierCV",
        *REGRESSORS["sklearn.linear_model"],
        "PoissonRegressor",
        "GammaRegressor",
        "TweedieRegressor",
    ),
    "sklearn.svm": ("SVC", "SVR", "NuSVC", "NuSVR", "LinearSVC", "LinearSVR", "OneClassSVM"),
    "sklearn.neighbors": (
        "KNeighborsClassifier",
        "KNeighborsRegressor",
        "RadiusNeighborsClassifier",
        "RadiusNeighborsRegressor",
        "NearestCentroid",
    ),
    "sklearn.naive_bayes": ("GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB"),
    "sklearn.neural_network": ("MLPClassifier", "MLPRegressor"),
    "sklearn.discriminant_analysis": ("LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"),
    "sklearn.gaussian_process": ("GaussianProcessClassifier", "GaussianProcessRegressor"),
    "sklearn.kernel_ridge": ("KernelRidge",),
    "sklearn.cross_decomposition": ("PLSRegression",),
    "sklearn.isotonic": ("IsotonicRegression",),
    "sklearn.cluster": ("KMeans", "MiniBatchKMeans"),
    "sklearn.mixture": ("GaussianMixture", "BayesianGaussianMixture"),
    "sklearn.tree": ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    "sklearn.ensemble": (
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        "IsolationForest",
    ),
    "sklearn.dummy": ("DummyClassifier", "DummyRegressor"),
}
_TRANSFORMERS = {
    "sklearn.preprocessing": (
        "StandardScaler",
        "MinMaxScaler",
        "MaxAbsScaler",
        "RobustScaler",
        "Normalizer",
        "PolynomialFeatures",
        "PowerTransformer",
        "QuantileTransformer",
        "KBinsDiscretizer",
        "SplineTransformer",
        "Binarizer",
    ),
    "sklearn.impute": ("SimpleImputer", "KNNImputer"),
    "sklearn.decomposition": ("PCA", "TruncatedSVD", "FastICA", "NMF", "FactorAnalysis", "KernelPCA"),
    "sklearn.feature_selection": (
        "VarianceThreshold",
        "SelectKBest",
        "SelectPercentile",
        "SelectFpr",
        "SelectFdr",
        "SelectFwe",
    ),
    "sklearn.kernel_approximation": ("Nystroem", "RBFSampler"),
    "sklearn.random_projection": ("GaussianRandomProjection", "SparseRandomProjection"),
}
_XGBOOST = {"xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")}


def nameless(estimator: Any) -> Any:
    """A copy that gives the same for a matrix and does not ask for names; None if the estimator is not in the list."""
    if is_one_of(estimator, PIPELINE):
        return _nameless_pipeline(estimator)
    return _forgetful(estimator) if is_one_of(estimator, _ESTIMATORS) else None


def _nameless_pipeline(pipeline: Any) -> Any:
    steps = []
    for name, step in pipeline.steps[:-1]:
        if is_passed(step):
            steps.append((name, step))
            continue
        if not is_one_of(step, _TRANSFORMERS) or hasattr(step, "_sklearn_output_config"):
            return None  # one that was told to put out a DataFrame has names for the next step
        steps.append((name, _forgetful(step)))
    name, last = pipeline.steps[-1]
    if not is_one_of(last, _ESTIMATORS):
        return None
    copied = copy.copy(pipeline)
    copied.steps = [*steps, (name, _forgetful(last))]
    return copied


def _forgetful(estimator: Any) -> Any:
    copied = copy.copy(estimator)
    copied.__dict__.pop("feature_names_in_", None)
    if "n_jobs" in copied.__dict__:
        copied.n_jobs = 1
    return copied
