#!/usr/bin/env python3
"""Checks a ledger bundle of Wattledger, or its test vectors, with Python's standard library alone.

    python3 verify.py BUNDLE [VKEY]       a folder that `wattledger ledger export` wrote; VKEY is a file with the published key
    python3 verify.py ledger-vectors.json

It is written from docs/ledger-format.md and shares nothing with the program. It ends with 0 when all is right, and with 1
and a sentence when something is not.
"""
import base64, hashlib, hmac, json, os, sys, urllib.parse


class Wrong(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Wrong(what)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


# Merkle trees (RFC 6962, section 2.1).
def leaf(*parts):
    return sha(b"\0", *parts)


def root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\1", root(leaves[:k]), root(leaves[k:]))


def root_by_proof(index, size, h, proof):
    """The root that an inclusion proof leads to."""
    if size == 1:
        need(not proof, "the proof is too long")
        return h
    need(proof, "the proof is too short")
    k = 1
    while k * 2 < size:
        k *= 2
    if index < k:
        return sha(b"\1", root_by_proof(index, k, h, proof[:-1]), proof[-1])
    return sha(b"\1", proof[-1], root_by_proof(index - k, size - k, h, proof[:-1]))


# Ed25519 (RFC 8032, section 5.1): verification only, so nothing here has to be constant in time.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def recover(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    need((x * x - x2) % P == 0 and y < P, "a point is not on the curve")
    return (P - x if x % 2 != sign else x, y)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    d = D * x1 * x2 * y1 * y2 % P
    return ((x1 * y2 + x2 * y1) * pow(1 + d, P - 2, P) % P, (y1 * y2 + x1 * x2) * pow(1 - d, P - 2, P) % P)


def times(n, p):
    q = (0, 1)
    while n:
        if n & 1:
            q = add(q, p)
        p, n = add(p, p), n >> 1
    return q


def point(b):
    n = int.from_bytes(b, "little")
    return recover(n & (2**255 - 1), n >> 255)


def signed(public, message, signature):
    need(len(public) == 32 and len(signature) == 64, "a key or a signature has the wrong length")
    s = int.from_bytes(signature[32:], "little")
    need(s < L, "a signature is out of range")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    base = recover(4 * pow(5, P - 2, P) % P, 0)
    return times(s, base) == add(point(signature[:32]), times(h, point(public)))


# Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint).
def checkpoint(note, vkey):
    name, key_id, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    need(key[0] == 1 and sha(name.encode(), b"\n", key)[:4].hex() == key_id, "the public key is damaged")
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, value = line.split(" ")
        value = base64.b64decode(value, validate=True)
        if dash == "\u2014" and signer == name and value[:4].hex() == key_id:
            need(signed(key[1:], text.encode(), value[4:]), "the checkpoint's signature does not hold")
            origin, size, hash_ = text.splitlines()
            need(origin == name, "the checkpoint is of another log")
            return int(size), base64.b64decode(hash_, validate=True)
    raise Wrong("the checkpoint is not signed by " + name)


# Canonical JSON (RFC 8785) of objects whose values are text, booleans, lists of text and integers below 2^53.
def canonical(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        need(abs(v) < 2**53, "an integer is too large")
        return str(v)
    if isinstance(v, list):
        return "[" + ",".join(map(canonical, v)) + "]"
    if isinstance(v, dict):
        return "{" + ",".join(canonical(k) + ":" + canonical(v[k]) for k in sorted(v)) + "}"
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    return '"' + "".join(short.get(c) or ("\\u%04x" % ord(c) if c < " " else c) for c in v) + '"'


def form(v):
    return canonical(v).encode()


SUMS = """device_time unavailable_time gpu_mj cpu_mj node_rest_mj it_shared_mj facility_mj measured_mj estimated_mj modelled_mj
interpolated_mj bound_low_mj bound_high_mj uncertainty_mj sm_active_us ticks_expected ticks_read carbon_ug carbon_market_ug
carbon_embodied_ug water_ul heat_reused_mj""".split()
SEAL_SUMS = """measured_mj estimated_mj modelled_mj device_time carbon_ug carbon_market_ug carbon_embodied_ug water_ul""".split()


def commitment(salt, tenant):
    return sha(b"\2", salt, tenant.encode())


def subtotal_digest(salt, text):
    return sha(b"\3", salt, text)


def group(entries):
    """Subtotals of (entry, leaf) pairs, by hour, account and tenant."""
    out = {}
    for e, h in entries:
        out.setdefault((e["hour"], e["account"], e["tenant"]), []).append((e, h))
    made = {}
    for (hour, account, tenant), list_ in out.items():
        s = {"site": list_[0][0]["site"], "hour": hour, "account": account, "tenant": tenant, "entries": len(list_)}
        s["root"] = root([h for _, h in list_]).hex()
        for name in SUMS:
            s[name] = sum(e[name] for e, _ in list_)
        made[hour, account, tenant] = s
    return made


# Bundles.
def read(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def check_bundle(folder, vkey):
    for line in read(folder, "SHA256SUMS").decode().splitlines():
        digest, name = line.split("  ", 1)
        need(sha(read(folder, name)).hex() == digest, name + ": its SHA-256 is not what SHA256SUMS says")
    about = json.loads(read(folder, "bundle.json"))
    own = read(folder, "vkey").decode()
    need(vkey is None or vkey.strip() == own.strip(), "vkey: it is not the key that was given")
    note = read(folder, "checkpoint").decode()
    size, want = checkpoint(note, own)
    need(size == about["size"], "bundle.json: its size is not the checkpoint's")
    records = []
    for n in range((size + 255) // 256):
        digits = "%03d" % (n % 1000)
        rest = n // 1000
        while rest:
            digits, rest = "x%03d/%s" % (rest % 1000, digits), rest // 1000
        width = min(256, size - n * 256)
        data = read(folder, "tile/entries/" + digits + ("" if width == 256 else ".p/%d" % width))
        while data:
            length = int.from_bytes(data[:2], "big")
            records.append(data[2 : 2 + length])
            data = data[2 + length :]
    leaves = [leaf(r) for r in records]
    need(len(records) == size and root(leaves) == want, "tile/entries: the records do not give the checkpoint's root")
    last, entries = {}, 0
    for index, text in enumerate(records):
        r = json.loads(text)
        need(form(r) == text, "record %d of the log is not canonical" % index)
        batch, previous = last.get(r["site"], (-1, ""))
        need(r["batch"] == batch + 1 and r["previous"] == previous, "record %d of the log does not go on from the one before" % index)
        last[r["site"]] = (r["batch"], r["root"])
        name = "%s/%08d" % (urllib.parse.quote(r["site"], safe="$&+=:@-_~").replace(".", "%2E"), r["batch"])
        try:
            entries += check_batch(read(folder, "batches/" + name + ".jsonl"), r, index, about["tenant"])
            if about["tenant"]:
                head, kept = read(folder, "proofs/" + name + ".tlog-proof").decode().split("\n\n", 1)
                lines = head.splitlines()
                need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1] == "index %d" % index and kept == note, "its proof is for something else")
                proof = [base64.b64decode(h, validate=True) for h in lines[2:]]
                need(root_by_proof(index, size, leaves[index], proof) == want, "its proof does not hold")
        except Wrong as e:
            raise Wrong("batch %d of %s: %s" % (r["batch"], r["site"], e))
    return "%d seals and %d entries%s are right, in the log %s of %d records" % (
        len(records), entries, " of tenant " + about["tenant"] if about["tenant"] else "", own.split("+")[0], size)


def check_batch(data, record, index, tenant):
    lines = [json.loads(l) for l in data.splitlines()]
    head = lines[0]
    need(head["root"] == record["root"] and head["index"] == index, "its head is not what the log says")
    leaves = [bytes.fromhex(l["leaf"]) for l in lines if "leaf" in l]
    entries, shown = [], []
    for l in lines:
        if "entry" in l:
            entries.append((l["entry"], leaf(bytes.fromhex(l["salt"]), form(l["entry"]))))
        if "subtotal" in l:
            tenant_salt = bytes.fromhex(l["tenant_salt"])
            shown.append((l["subtotal"], commitment(tenant_salt, l["subtotal"]["tenant"]) + subtotal_digest(bytes.fromhex(l["salt"]), form(l["subtotal"]))))
    made = group(entries)
    need(len(made) == len(shown), "%d subtotals are shown and its entries give %d" % (len(shown), len(made)))
    for s, _ in shown:
        need(made.get((s["hour"], s["account"], s["tenant"])) == s, "the subtotal of %s, %s %s is not the sum of its entries" % (s["hour"], s["account"], s["tenant"]))
    if tenant:
        mine = commitment(bytes.fromhex(head["tenant_salt"]), tenant)
        need(sorted(l for l in leaves if l[:32] == mine) == sorted(l for _, l in shown), "a subtotal of the tenant is held back or made up")
        header = bytes.fromhex(head["header_leaf"])
    else:
        h = head["header"]
        leaves = sorted(l for _, l in shown)
        header = leaf(bytes.fromhex(head["salt"]), form(h))
        need(all(h[k] == record[k] for k in ("site", "batch", "previous", "hour")), "its header is not what the log says")
        need(h["entries"] == len(entries), "its header counts %d entries" % h["entries"])
        need(h["adjustments"] == sum(e["kind"] == "adjustment" for e, _ in entries), "its header counts other adjustments")
        for name in SEAL_SUMS:
            need(h[name] == sum(e[name] for e, _ in entries), name + " of its header is not the sum of its entries")
        need(h["cuts"] == root([leaf(form(l["cut"])) for l in lines if "cut" in l]).hex(), "cuts were changed or are missing")
        need(h["device_hours"] == root([leaf(form(l["device_hour"])) for l in lines if "device_hour" in l]).hex(), "device-hours were changed or are missing")
    need(root([header] + [leaf(l) for l in leaves]).hex() == record["root"], "what it covers does not give its root")
    return len(entries)


# Vectors.
def check_vectors(v):
    site_key = mac(bytes.fromhex(v["secret"]), b"wattledger site ", v["site"].encode())
    need(site_key.hex() == v["site_key"], "site_key")
    batch_key = mac(site_key, b"batch", v["batch"].to_bytes(8, "big"))
    need(batch_key.hex() == v["batch_key"], "batch_key")
    entries = []
    for e in v["entries"]:
        text = e["canonical"].encode()
        need(form(json.loads(text)) == text, "an entry is not canonical")
        need(sha(text).hex() == e["id"], "id")
        salt = mac(site_key, bytes.fromhex(e["id"]))
        need(salt.hex() == e["salt"] and leaf(salt, text).hex() == e["leaf"], "salt and leaf of an entry")
        entries.append((json.loads(text), leaf(salt, text)))
    made, leaves = group(entries), []
    for s in v["subtotals"]:
        text = s["canonical"].encode()
        value = json.loads(text)
        need(made.pop((value["hour"], value["account"], value["tenant"])) == value, "a subtotal")
        salt, tenant_salt = mac(batch_key, b"subtotal ", text), mac(batch_key, b"tenant ", value["tenant"].encode())
        need(salt.hex() == s["salt"] and tenant_salt.hex() == s["tenant_salt"], "salts of a subtotal")
        need(commitment(tenant_salt, value["tenant"]).hex() == s["commitment"] and subtotal_digest(salt, text).hex() == s["digest"], "the leaf of a subtotal")
        leaves.append(bytes.fromhex(s["commitment"] + s["digest"]))
    need(not made, "a subtotal is missing")
    leaves.sort()
    need([l.hex() for l in leaves] == v["site_leaves"], "site_leaves")
    header = v["header"]["canonical"].encode()
    value = json.loads(header)
    need(value["cuts"] == root([leaf(c.encode()) for c in v["cuts"]]).hex(), "cuts")
    need(value["device_hours"] == root([leaf(d.encode()) for d in v["device_hours"]]).hex(), "device_hours")
    salt = mac(batch_key, b"header ", header)
    need(salt.hex() == v["header"]["salt"] and leaf(salt, header).hex() == v["header"]["leaf"], "the header's leaf")
    need(root([leaf(salt, header)] + [leaf(l) for l in leaves]).hex() == v["root"], "root")
    record = v["log_record"].encode()
    need(form(json.loads(record)) == record and json.loads(record)["root"] == v["root"], "log_record")
    need(checkpoint(v["checkpoint"], v["vkey"]) == (1, leaf(record)), "checkpoint")
    return "the vectors hold"


def main(args):
    if len(args) not in (1, 2) or args[0].startswith("-"):
        print(__doc__)
        return 2
    try:
        if os.path.isdir(args[0]):
            vkey = open(args[1]).read() if len(args) == 2 else None
            print(check_bundle(args[0], vkey))
        else:
            print(check_vectors(json.load(open(args[0], encoding="utf-8"))))
    except (Wrong, OSError, ValueError, KeyError, IndexError, TypeError) as e:
        print("WRONG:", e or repr(e), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    sys.exit(main(sys.argv[1:]))
