"""Where objects lie in S3: the beginnings of their keys, by which `infra` bounds what a role may read and write."""

DATASETS = "datasets/"  # in the data bucket
# In the artifacts bucket.
RUNS = "runs/"
TABLES = "tables/"  # rows of datasets, which runs work on
BATCHES = "batch/"  # in the data bucket
# In the captures bucket.
CAPTURES = "captures/"
FEEDBACK = "feedback/"
PROFILES = "profiles/"
VERDICTS = "verdicts/"
# In the output of a batch: the ends of keys.
BATCH_RECORD = "_tidegate/batch.json"
BATCH_PARTS = "_tidegate/parts.json"
BATCH_SUCCESS = "_SUCCESS.json"
