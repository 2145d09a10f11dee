"""moto on loopback, with what its KMS lacks of AWS's: a digest is signed as it is and not hashed once more,
and a key that is disabled does nothing. Arguments as moto_server's."""

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse
from moto.server import main

theirs = {"sign": KmsResponse.sign, "public": KmsResponse.get_public_key}


def enabled_key(response):
    asked = json.loads(response.body)
    response._validate_key_id(asked["KeyId"])
    key = response.kms_backend.describe_key(asked["KeyId"])
    if key.key_state != "Enabled":
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
    return key, asked


def sign(self):
    key, asked = enabled_key(self)
    if asked.get("MessageType") != "DIGEST" or asked["SigningAlgorithm"] != "ECDSA_SHA_256":
        return theirs["sign"](self)
    digest = base64.b64decode(asked["Message"])
    signature = key.private_key.private_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return json.dumps(
        {
            "KeyId": key.arn,
            "Signature": base64.b64encode(signature).decode(),
            "SigningAlgorithm": asked["SigningAlgorithm"],
        }
    )


def get_public_key(self):
    enabled_key(self)
    return theirs["public"](self)


KmsResponse.sign = sign
KmsResponse.get_public_key = get_public_key
main()
