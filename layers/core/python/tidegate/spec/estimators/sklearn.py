"""The estimators of scikit-learn that convert to ONNX with the parity the gate demands; a test converts each.

The others are in `LEFT_OUT`, each with its reason; a test finds an estimator that is in neither list.

Trees get numbers as they are and categories by position. So does Gaussian naive Bayes with categories: the variance of
a one-hot column can be all but zero, and then float32 cannot follow. One-hot columns stay sparse where that is
borne.
"""

from functools import partial
from typing import Any

from tidegate.spec.estimators.estimator import (
    CLASSIFICATION,
    REGRESSION,
    Ability,
    Estimator,
    Framework,
    Inner,
    LeftOut,
    Probabilities,
    Why,
)

SKLEARN = Framework("sklearn", "scikit-learn", converter="skl2onnx", seed="random_state", threads="n_jobs")


def _estimator(name: str, words: str, parameters: str, **facts: Any) -> Estimator:
    return Estimator(f"sklearn.{name}", SKLEARN, words=words, parameters=parameters, **facts)


_regressor = partial(_estimator, tasks=REGRESSION)
_classifier = partial(_estimator, tasks=CLASSIFICATION, probabilities=Probabilities.SOUND)
_tree_regressor = partial(_regressor, encoding="ordinal", scaled=False)
_tree_classifier = partial(_classifier, encoding="ordinal", scaled=False)
_deciding = partial(_classifier, probabilities=Probabilities.NONE)
_ANOTHER = (Inner("estimator"),)
_SEVERAL = (Inner("estimators", many=True, required=True),)

ESTIMATORS: tuple[Estimator, ...] = (
    _classifier(
        "calibration.CalibratedClassifierCV",
        "Calibrates another classifier on held-out folds; a linear support vector machine unless `estimator` is given.",
        "cv ensemble estimator method n_jobs",
        passes_gaps=True,
        inner=(Inner("estimator", needs=(Ability.DECISIONS,)),),
        refused={"method": {"temperature": "skl2onnx does not convert temperature scaling"}},
    ),
    _regressor(
        "cross_decomposition.PLSRegression",
        "Partial least squares: regression on a few components that explain the target.",
        "copy max_iter n_components scale tol",
        lacks=(Ability.STACKED,),
    ),
    _classifier(
        "discriminant_analysis.QuadraticDiscriminantAnalysis",
        "A normal distribution for each class; needs `reg_param` above 0 where columns depend on each other.",
        "covariance_estimator priors reg_param shrinkage solver store_covariance tol",
        lacks=(Ability.DECISIONS, Ability.WEIGHTS),
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_classifier(
        "ensemble.AdaBoostClassifier",
        "Boosted stumps, or other classifiers, each fitted to the rows that the earlier ones got wrong.",
        "estimator learning_rate n_estimators random_state",
        inner=(Inner("estimator", needs=(Ability.PROBABILITIES, Ability.WEIGHTS)),),
        probabilities=Probabilities.DISTORTED,
    ),
    _tree_regressor(
        "ensemble.AdaBoostRegressor",
        "Boosted trees, or other estimators, each fitted to the rows with the largest errors so far.",
        "estimator learning_rate loss n_estimators random_state",
        inner=_ANOTHER,
    ),
    _tree_classifier(
        "ensemble.BaggingClassifier",
        "Trees, or other classifiers, on resampled rows; their probabilities are averaged.",
        "bootstrap bootstrap_features estimator max_features max_samples n_estimators n_jobs oob_score "
        "random_state verbose warm_start",
        passes_gaps=True,
        inner=_ANOTHER,
    ),
    _tree_regressor(
        "ensemble.BaggingRegressor",
        "Trees, or other estimators, on resampled rows; their answers are averaged.",
        "bootstrap bootstrap_features estimator max_features max_samples n_estimators n_jobs oob_score "
        "random_state verbose warm_start",
        passes_gaps=True,
        inner=_ANOTHER,
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
    _classifier(
        "ensemble.StackingClassifier",
        "A classifier on the probabilities of others, which are predicted for held-out folds.",
        "cv estimators final_estimator n_jobs passthrough stack_method verbose",
        lacks=(Ability.WEIGHTS,),
        passes_gaps=True,
        defaults={"final_estimator": {"of": "sklearn.linear_model.LogisticRegression"}},
        inner=(
            Inner("estimators", many=True, required=True, needs=()),
            Inner("final_estimator", features=False),
        ),
    ),
    _regressor(
        "ensemble.StackingRegressor",
        "A regression on the answers of others, which are predicted for held-out folds.",
        "cv estimators final_estimator n_jobs passthrough verbose",
        passes_gaps=True,
        defaults={"final_estimator": {"of": "sklearn.linear_model.RidgeCV"}},
        inner=(*_SEVERAL, Inner("final_estimator", needs=(Ability.STACKED,), features=False)),
    ),
    _classifier(
        "ensemble.VotingClassifier",
        "The mean of several classifiers' probabilities.",
        "estimators flatten_transform n_jobs verbose voting weights",
        lacks=(Ability.WEIGHTS,),
        passes_gaps=True,
        inner=_SEVERAL,
        defaults={"voting": "soft", "flatten_transform": False},
        refused={
            "voting": {"hard": "it has no probabilities; use `soft`, which is the default here"},
            "flatten_transform": {"True": "skl2onnx does not convert it; leave it out"},
        },
    ),
    _regressor(
        "ensemble.VotingRegressor",
        "The mean of several regressions' answers.",
        "estimators n_jobs verbose weights",
        passes_gaps=True,
        inner=_SEVERAL,
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
        "linear_model.LarsCV",
        "Least angle regression that chooses its length by cross-validation.",
        "copy_X cv eps fit_intercept max_iter max_n_alphas n_jobs precompute verbose",
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
        "linear_model.LassoLarsCV",
        "LassoLars that chooses its regularisation by cross-validation.",
        "copy_X cv eps fit_intercept max_iter max_n_alphas n_jobs positive precompute verbose",
    ),
    _regressor(
        "linear_model.LassoLarsIC",
        "LassoLars that chooses its regularisation by an information criterion.",
        "copy_X criterion eps fit_intercept max_iter noise_variance positive precompute verbose",
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
        "linear_model.OrthogonalMatchingPursuitCV",
        "Orthogonal matching pursuit that chooses the number of features by cross-validation.",
        "copy cv fit_intercept max_iter n_jobs verbose",
    ),
    _deciding(
        "linear_model.Perceptron",
        "A linear classifier that learns from its mistakes alone.",
        "alpha class_weight early_stopping eta0 fit_intercept l1_ratio max_iter n_iter_no_change n_jobs "
        "penalty random_state shuffle tol validation_fraction verbose warm_start",
        sparse=True,
    ),
    _regressor(
        "linear_model.QuantileRegressor",
        "Linear regression of a quantile, the median by default.",
        "alpha fit_intercept quantile solver solver_options",
    ),
    _regressor(
        "linear_model.RANSACRegressor",
        "Linear regression, or another estimator if `min_samples` is given, on the rows that agree with each other.",
        "estimator is_data_valid is_model_valid loss max_skips max_trials min_samples random_state "
        "residual_threshold stop_n_inliers stop_probability stop_score",
        inner=_ANOTHER,
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
    _deciding(
        "linear_model.RidgeClassifier",
        "Ridge regression on -1 and 1.",
        "alpha class_weight copy_X fit_intercept max_iter positive random_state solver tol",
    ),
    _deciding(
        "linear_model.RidgeClassifierCV",
        "RidgeClassifier that chooses its regularisation by cross-validation.",
        "alphas class_weight cv fit_intercept scoring store_cv_results",
    ),
    _deciding(
        "linear_model.SGDClassifier",
        "Linear classification by stochastic gradient descent, for many rows.",
        "alpha average class_weight early_stopping epsilon eta0 fit_intercept l1_ratio learning_rate loss "
        "max_iter n_iter_no_change n_jobs penalty power_t random_state shuffle tol validation_fraction "
        "verbose warm_start",
        sparse=True,
    ),
    _regressor(
        "linear_model.SGDRegressor",
        "Linear regression by stochastic gradient descent, for many rows.",
        "alpha average early_stopping epsilon eta0 fit_intercept l1_ratio learning_rate loss max_iter "
        "n_iter_no_change penalty power_t random_state shuffle tol validation_fraction verbose warm_start",
        sparse=True,
    ),
    _regressor(
        "linear_model.TheilSenRegressor",
        "The median of linear regressions on small samples of the rows.",
        "fit_intercept max_iter max_subpopulation n_jobs n_subsamples random_state tol verbose",
    ),
    _regressor(
        "linear_model.TweedieRegressor",
        "Generalised linear regression: normal, Poisson, gamma and between, for counts and amounts.",
        "alpha fit_intercept link max_iter power solver tol verbose warm_start",
    ),
    _classifier(
        "multiclass.OneVsRestClassifier",
        "One classifier for each class against the others.",
        "estimator n_jobs verbose",
        lacks=(Ability.WEIGHTS,),
        passes_gaps=True,
        inner=(Inner("estimator", required=True),),
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
    _deciding(
        "svm.LinearSVC",
        "A linear support vector machine.",
        "C class_weight dual fit_intercept intercept_scaling loss max_iter multi_class penalty random_state "
        "tol verbose",
        sparse=True,
    ),
    _regressor(
        "svm.LinearSVR",
        "Linear support vector regression: errors below epsilon cost nothing.",
        "C dual epsilon fit_intercept intercept_scaling loss max_iter random_state tol verbose",
        sparse=True,
    ),
    _deciding(
        "svm.NuSVC",
        "A support vector machine whose share of support vectors is given; its artifact holds them.",
        "break_ties cache_size class_weight coef0 decision_function_shape degree gamma kernel max_iter nu "
        "probability random_state shrinking tol verbose",
    ),
    _regressor(
        "svm.NuSVR",
        "Support vector regression whose share of support vectors is given; its artifact holds them.",
        "C cache_size coef0 degree gamma kernel max_iter nu shrinking tol verbose",
    ),
    _deciding(
        "svm.SVC",
        "A support vector machine with a kernel, whose artifact holds the support vectors; slow beyond 10,000 rows.",
        "C break_ties cache_size class_weight coef0 decision_function_shape degree gamma kernel max_iter "
        "probability random_state shrinking tol verbose",
    ),
    _regressor(
        "svm.SVR",
        "Support vector regression with a kernel, whose artifact holds the support vectors; a `C` of 100 or more "
        "may exceed the tolerance of the gate.",
        "C cache_size coef0 degree epsilon gamma kernel max_iter shrinking tol verbose",
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

LEFT_OUT: tuple[LeftOut, ...] = tuple(
    LeftOut(f"sklearn.{name}", why, words)
    for name, why, words in (
        ("compose.TransformedTargetRegressor", Why.CONVERTER, ""),
        ("cross_decomposition.CCA", Why.TARGETS, "PLSRegression is for one"),
        ("cross_decomposition.PLSCanonical", Why.TARGETS, "PLSRegression is for one"),
        ("discriminant_analysis.LinearDiscriminantAnalysis", Why.DIFFERS, "LogisticRegression comes closest"),
        ("dummy.DummyClassifier", Why.CONVERTER, "a constant answer is the `baseline`"),
        ("dummy.DummyRegressor", Why.CONVERTER, "a constant answer is the `baseline`"),
        ("gaussian_process.GaussianProcessClassifier", Why.OPERATOR, ""),
        ("gaussian_process.GaussianProcessRegressor", Why.SIZE, ""),
        ("isotonic.IsotonicRegression", Why.DATA, "it takes a single number"),
        ("kernel_ridge.KernelRidge", Why.CONVERTER, "SVR comes closest"),
        ("linear_model.GammaRegressor", Why.INSTEAD, "TweedieRegressor with `power: 2` does the same"),
        ("linear_model.Lars", Why.DIFFERS, "columns that depend on each other get huge weights; LassoLars does not"),
        ("linear_model.MultiTaskElasticNet", Why.TARGETS, "ElasticNet is for one"),
        ("linear_model.MultiTaskElasticNetCV", Why.TARGETS, "ElasticNetCV is for one"),
        ("linear_model.MultiTaskLasso", Why.TARGETS, "Lasso is for one"),
        ("linear_model.MultiTaskLassoCV", Why.TARGETS, "LassoCV is for one"),
        ("linear_model.PassiveAggressiveClassifier", Why.INSTEAD, "scikit-learn 1.10 removes it for SGDClassifier"),
        ("linear_model.PassiveAggressiveRegressor", Why.INSTEAD, "scikit-learn 1.10 removes it for SGDRegressor"),
        ("linear_model.PoissonRegressor", Why.INSTEAD, "TweedieRegressor with `power: 1` does the same"),
        ("model_selection.FixedThresholdClassifier", Why.INSTEAD, "`decision.threshold` does the same"),
        ("model_selection.TunedThresholdClassifierCV", Why.INSTEAD, "`decision.threshold` does the same"),
        ("multiclass.OneVsOneClassifier", Why.DECIDES, "SVC compares pairs of classes by itself"),
        ("multiclass.OutputCodeClassifier", Why.CONVERTER, ""),
        ("multioutput.ClassifierChain", Why.TARGETS, ""),
        ("multioutput.MultiOutputClassifier", Why.TARGETS, ""),
        ("multioutput.MultiOutputRegressor", Why.TARGETS, ""),
        ("multioutput.RegressorChain", Why.TARGETS, ""),
        ("naive_bayes.CategoricalNB", Why.DATA, "it takes no negative numbers"),
        ("naive_bayes.ComplementNB", Why.DATA, "it takes no negative numbers"),
        ("naive_bayes.MultinomialNB", Why.DATA, "it takes no negative numbers"),
        ("neighbors.KNeighborsClassifier", Why.DIFFERS, "float32 distances order near neighbours otherwise"),
        ("neighbors.KNeighborsRegressor", Why.DIFFERS, "float32 distances order near neighbours otherwise"),
        ("neighbors.NearestCentroid", Why.CONVERTER, ""),
        ("neighbors.RadiusNeighborsClassifier", Why.DATA, "a row without neighbours has no answer"),
        ("neighbors.RadiusNeighborsRegressor", Why.DATA, "a row without neighbours has no answer"),
        ("semi_supervised.LabelPropagation", Why.CONVERTER, ""),
        ("semi_supervised.LabelSpreading", Why.CONVERTER, ""),
        ("semi_supervised.SelfTrainingClassifier", Why.CONVERTER, ""),
    )
)
