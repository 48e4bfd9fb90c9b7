"""The estimators of scikit-learn that convert to ONNX with the parity the gate demands; a test converts each.

Left out though they convert: nearest neighbours (ties), Lars and RANSAC (collinear one-hot columns), support vector
regression: on real rows their float32 scores differ from scikit-learn's by more than the gate tolerates, or nearly so.

Trees get numbers as they are and categories by position. So does Gaussian naive Bayes with categories: the variance of
a one-hot column can be all but zero, and then float32 cannot follow. One-hot columns stay sparse where that is
borne.
"""

from functools import partial
from typing import Any

from tidegate.spec.estimators.estimator import CLASSIFICATION, REGRESSION, Estimator, Framework, Probabilities

SKLEARN = Framework("sklearn", "scikit-learn", converter="skl2onnx", seed="random_state", threads="n_jobs")


def _estimator(name: str, words: str, parameters: str, **facts: Any) -> Estimator:
    return Estimator(f"sklearn.{name}", SKLEARN, words=words, parameters=parameters, **facts)


_regressor = partial(_estimator, tasks=REGRESSION)
_classifier = partial(_estimator, tasks=CLASSIFICATION, probabilities=Probabilities.SOUND)
_tree_regressor = partial(_regressor, encoding="ordinal", scaled=False)
_tree_classifier = partial(_classifier, encoding="ordinal", scaled=False)

ESTIMATORS: tuple[Estimator, ...] = (
    _classifier(
        "calibration.CalibratedClassifierCV",
        "A linear support vector machine whose scores are calibrated on held-out folds.",
        "cv ensemble estimator method n_jobs",
    ),
    _regressor(
        "cross_decomposition.PLSRegression",
        "Partial least squares: regression on a few components that explain the target.",
        "copy max_iter n_components scale tol",
    ),
    _tree_classifier(
        "ensemble.AdaBoostClassifier",
        "Boosted stumps, each fitted to the rows that the earlier ones got wrong.",
        "estimator learning_rate n_estimators random_state",
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "ensemble.AdaBoostRegressor",
        "Boosted trees, each fitted to the rows with the largest errors so far.",
        "estimator learning_rate loss n_estimators random_state",
    ),
    _tree_classifier(
        "ensemble.BaggingClassifier",
        "Trees on resampled rows; their class shares are averaged.",
        "bootstrap bootstrap_features estimator max_features max_samples n_estimators n_jobs oob_score "
        "random_state verbose warm_start",
    ),
    _tree_regressor(
        "ensemble.BaggingRegressor",
        "Trees on resampled rows; their answers are averaged.",
        "bootstrap bootstrap_features estimator max_features max_samples n_estimators n_jobs oob_score "
        "random_state verbose warm_start",
    ),
    _tree_classifier(
        "ensemble.ExtraTreesClassifier",
        "A forest whose splits are drawn at random.",
        "bootstrap ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes max_samples "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
        "n_estimators n_jobs oob_score random_state verbose warm_start",
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "ensemble.ExtraTreesRegressor",
        "A forest whose splits are drawn at random.",
        "bootstrap ccp_alpha criterion max_depth max_features max_leaf_nodes max_samples "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
        "n_estimators n_jobs oob_score random_state verbose warm_start",
    ),
    _tree_classifier(
        "ensemble.GradientBoostingClassifier",
        "Boosted trees with exact splits; slow beyond about 10,000 rows.",
        "ccp_alpha criterion init learning_rate loss max_depth max_features max_leaf_nodes "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf n_estimators "
        "n_iter_no_change random_state subsample tol validation_fraction verbose warm_start",
    ),
    _tree_regressor(
        "ensemble.GradientBoostingRegressor",
        "Boosted trees with exact splits; slow beyond about 10,000 rows.",
        "alpha ccp_alpha criterion init learning_rate loss max_depth max_features max_leaf_nodes "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf n_estimators "
        "n_iter_no_change random_state subsample tol validation_fraction verbose warm_start",
    ),
    _tree_classifier(
        "ensemble.HistGradientBoostingClassifier",
        "Boosted trees on binned numbers: fast, and handles missing numbers.",
        "categorical_features class_weight early_stopping interaction_cst l2_regularization learning_rate "
        "loss max_bins max_depth max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst "
        "n_iter_no_change random_state scoring tol validation_fraction verbose warm_start",
        keeps_gaps=True,
    ),
    _tree_regressor(
        "ensemble.HistGradientBoostingRegressor",
        "Boosted trees on binned numbers: fast, and handles missing numbers.",
        "categorical_features early_stopping interaction_cst l2_regularization learning_rate loss "
        "max_bins max_depth max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst "
        "n_iter_no_change quantile random_state scoring tol validation_fraction verbose warm_start",
        keeps_gaps=True,
    ),
    _tree_classifier(
        "ensemble.RandomForestClassifier",
        "A forest of trees on resampled rows and features.",
        "bootstrap ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes max_samples "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
        "n_estimators n_jobs oob_score random_state verbose warm_start",
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "ensemble.RandomForestRegressor",
        "A forest of trees on resampled rows and features.",
        "bootstrap ccp_alpha criterion max_depth max_features max_leaf_nodes max_samples "
        "min_impurity_decrease min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst "
        "n_estimators n_jobs oob_score random_state verbose warm_start",
    ),
    _regressor(
        "linear_model.ARDRegression",
        "Bayesian linear regression that drops features without weight.",
        "alpha_1 alpha_2 compute_score copy_X fit_intercept lambda_1 lambda_2 max_iter threshold_lambda tol verbose",
    ),
    _regressor(
        "linear_model.BayesianRidge",
        "Linear regression that sets its own regularisation.",
        "alpha_1 alpha_2 alpha_init compute_score copy_X fit_intercept lambda_1 lambda_2 lambda_init "
        "max_iter tol verbose",
    ),
    _regressor(
        "linear_model.ElasticNet",
        "Linear regression with L1 and L2 regularisation.",
        "alpha copy_X fit_intercept l1_ratio max_iter positive precompute random_state selection tol warm_start",
    ),
    _regressor(
        "linear_model.ElasticNetCV",
        "ElasticNet that chooses its regularisation by cross-validation.",
        "alphas copy_X cv eps fit_intercept l1_ratio max_iter n_jobs positive precompute random_state "
        "selection tol verbose",
    ),
    _regressor(
        "linear_model.HuberRegressor",
        "Linear regression that is robust to outliers.",
        "alpha epsilon fit_intercept max_iter tol warm_start",
    ),
    _regressor(
        "linear_model.Lasso",
        "Linear regression with L1 regularisation: few features keep a weight.",
        "alpha copy_X fit_intercept max_iter positive precompute random_state selection tol warm_start",
    ),
    _regressor(
        "linear_model.LassoCV",
        "Lasso that chooses its regularisation by cross-validation.",
        "alphas copy_X cv eps fit_intercept max_iter n_jobs positive precompute random_state selection tol verbose",
    ),
    _regressor(
        "linear_model.LassoLars",
        "Lasso by least angle regression.",
        "alpha copy_X eps fit_intercept fit_path jitter max_iter positive precompute random_state verbose",
    ),
    _regressor(
        "linear_model.LinearRegression",
        "Ordinary least squares.",
        "copy_X fit_intercept n_jobs positive tol",
    ),
    _classifier(
        "linear_model.LogisticRegression",
        "Linear log odds, with regularisation.",
        "C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter n_jobs penalty "
        "random_state solver tol verbose warm_start",
        sparse=True,
    ),
    _classifier(
        "linear_model.LogisticRegressionCV",
        "Logistic regression that chooses its regularisation by cross-validation.",
        "Cs class_weight cv dual fit_intercept intercept_scaling l1_ratios max_iter n_jobs penalty "
        "random_state refit scoring solver tol use_legacy_attributes verbose",
        sparse=True,
    ),
    _regressor(
        "linear_model.OrthogonalMatchingPursuit",
        "Linear regression on a fixed number of features.",
        "fit_intercept n_nonzero_coefs precompute tol",
    ),
    _regressor(
        "linear_model.QuantileRegressor",
        "Linear regression of a quantile, the median by default.",
        "alpha fit_intercept quantile solver solver_options",
    ),
    _regressor(
        "linear_model.Ridge",
        "Linear regression with L2 regularisation.",
        "alpha copy_X fit_intercept max_iter positive random_state solver tol",
    ),
    _regressor(
        "linear_model.RidgeCV",
        "Ridge that chooses its regularisation by cross-validation.",
        "alpha_per_target alphas cv fit_intercept gcv_mode scoring store_cv_results",
    ),
    _regressor(
        "linear_model.SGDRegressor",
        "Linear regression by stochastic gradient descent, for many rows.",
        "alpha average early_stopping epsilon eta0 fit_intercept l1_ratio learning_rate loss max_iter "
        "n_iter_no_change penalty power_t random_state shuffle tol validation_fraction verbose warm_start",
        sparse=True,
    ),
    _regressor(
        "linear_model.TweedieRegressor",
        "Generalised linear regression: normal, Poisson, gamma and between, for counts and amounts.",
        "alpha fit_intercept link max_iter power solver tol verbose warm_start",
    ),
    _classifier(
        "naive_bayes.BernoulliNB",
        "Naive Bayes on features cut to 0 and 1.",
        "alpha binarize class_prior fit_prior force_alpha",
        probabilities=Probabilities.DISTORTED,
    ),
    _classifier(
        "naive_bayes.GaussianNB",
        "Naive Bayes with a normal distribution for each feature and class.",
        "priors var_smoothing",
        encoding="ordinal",
        probabilities=Probabilities.DISTORTED,
    ),
    _classifier(
        "neural_network.MLPClassifier",
        "A feed-forward neural network.",
        "activation alpha batch_size beta_1 beta_2 early_stopping epsilon hidden_layer_sizes "
        "learning_rate learning_rate_init max_fun max_iter momentum n_iter_no_change nesterovs_momentum "
        "power_t random_state shuffle solver tol validation_fraction verbose warm_start",
        sparse=True,
    ),
    _regressor(
        "neural_network.MLPRegressor",
        "A feed-forward neural network.",
        "activation alpha batch_size beta_1 beta_2 early_stopping epsilon hidden_layer_sizes "
        "learning_rate learning_rate_init loss max_fun max_iter momentum n_iter_no_change "
        "nesterovs_momentum power_t random_state shuffle solver tol validation_fraction verbose "
        "warm_start",
        sparse=True,
    ),
    _regressor(
        "svm.LinearSVR",
        "Linear support vector regression: errors below epsilon cost nothing.",
        "C dual epsilon fit_intercept intercept_scaling loss max_iter random_state tol verbose",
        sparse=True,
    ),
    _tree_classifier(
        "tree.DecisionTreeClassifier",
        "One tree.",
        "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes min_impurity_decrease "
        "min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst random_state splitter",
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "tree.DecisionTreeRegressor",
        "One tree.",
        "ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease min_samples_leaf "
        "min_samples_split min_weight_fraction_leaf monotonic_cst random_state splitter",
    ),
    _tree_classifier(
        "tree.ExtraTreeClassifier",
        "One tree whose splits are drawn at random.",
        "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes min_impurity_decrease "
        "min_samples_leaf min_samples_split min_weight_fraction_leaf monotonic_cst random_state splitter",
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "tree.ExtraTreeRegressor",
        "One tree whose splits are drawn at random.",
        "ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease min_samples_leaf "
        "min_samples_split min_weight_fraction_leaf monotonic_cst random_state splitter",
    ),
)
