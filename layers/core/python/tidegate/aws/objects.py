"""Objects in S3: artifacts of runs, files of datasets. S3 checks the SHA-256 of everything that is stored."""

import hashlib
from base64 import b64encode

from botocore.exceptions import ClientError

from tidegate.aws.clients import answering, code_of, s3
from tidegate.aws.integrity import check
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.prefixes import DATASETS

UPLOAD_SECONDS = 900
OCTETS = "application/octet-stream"
# S3 hides a missing key from those who may not list; a HEAD has no body to name the error in.
MISSING = frozenset({"NoSuchKey", "AccessDenied", "403", "404"})


class S3Artifacts:
    """ports.Artifacts in one bucket. A put may come twice: it writes the same bytes under the same key."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put(self, key: str, data: bytes, *, content_type: str = OCTETS) -> str:
        """See ports.Artifacts."""
        return _write(self._bucket, key, data, content_type)

    def get(self, key: str) -> bytes:
        """See ports.Artifacts."""
        return _read(self._bucket, key)

    def get_verified(self, key: str, sha256: str) -> bytes:
        """See ports.Artifacts."""
        data = self.get(key)
        check(data, sha256, f"s3://{self._bucket}/{key}")
        return data


class S3DatasetFiles:
    """ports.DatasetFiles in one bucket, each file under its own hash."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put(self, dataset: str, data: bytes) -> str:
        """See ports.DatasetFiles."""
        return _write(self._bucket, self.key(dataset, hashlib.sha256(data).hexdigest()), data, OCTETS)

    def upload_url(self, dataset: str, sha256: str, size: int) -> str:
        """See ports.DatasetFiles. The PUT must carry the headers `content-length` and `x-amz-checksum-sha256` (base64),
        which the signature binds; S3 refuses other bytes. Valid for 15 minutes.
        """
        return s3().generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": self.key(dataset, sha256),
                "ContentLength": size,
                "ChecksumSHA256": b64encode(bytes.fromhex(sha256)).decode(),
            },
            ExpiresIn=UPLOAD_SECONDS,
        )

    def key(self, dataset: str, sha256: str) -> str:
        """See ports.DatasetFiles."""
        return f"{DATASETS}{dataset}/{sha256}"

    def exists(self, key: str) -> bool:
        """See ports.DatasetFiles."""
        try:
            with answering("S3"):
                s3().head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return True

    def read(self, key: str) -> bytes:
        """See ports.DatasetFiles."""
        return _read(self._bucket, key)


def _write(bucket: str, key: str, data: bytes, content_type: str) -> str:
    digest = hashlib.sha256(data)
    with answering("S3"):
        s3().put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            ContentType=content_type,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=b64encode(digest.digest()).decode(),
        )
    return digest.hexdigest()


def _read(bucket: str, key: str) -> bytes:
    try:
        with answering("S3"):
            return s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if code_of(error) in MISSING:
            raise NotFoundError(f"s3://{bucket}/{key} does not exist or cannot be read") from None
        raise
