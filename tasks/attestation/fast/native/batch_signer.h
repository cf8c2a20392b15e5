/* Ed25519 signatures (RFC 8032, section 5.1.6) over many messages with one key.

   The same bytes as one signature after another, in a fraction of the time: multiples of the base point come from a
   table of 64 windows without doublings, LANES at once, and a group of points shares the one inversion that their
   encodings need.

   No branch and no address depends on the key or on a nonce. The expanded key and what is secret about a group are wiped
   before sign() returns; copies that a compiler left in registers or on the stack are not. */

#ifndef BATCH_SIGNER_H
#define BATCH_SIGNER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "point.h"
#include "scalar.h"
#include "sha512.h"

#define BLOCKS 32 /* of LANES signatures: a group, which shares one inversion */
#define GROUP (BLOCKS * LANES)

typedef struct {
    uint8_t scalar[32], prefix[32], public_key[32];
} signing_key;

/* What is secret about a group while it is signed. */
typedef struct {
    uint8_t nonce[GROUP][32];
    point R[BLOCKS];
    field z[BLOCKS], room[BLOCKS];
} workspace;

/* Zeros that no compiler may leave out. */
static void wipe(void *secret, size_t size) {
    memset(secret, 0, size);
    __asm__ volatile("" : : "r"(secret) : "memory");
}

static void expand_key(signing_key *key, const uint8_t secret_key[64]) {
    uint8_t digest[64];
    sha512 h;
    sha512_start(&h);
    sha512_add(&h, secret_key, 32);
    sha512_end(&h, digest);
    memcpy(key->scalar, digest, 32);
    key->scalar[0] &= 0xf8;
    key->scalar[31] = (key->scalar[31] & 0x3f) | 0x40;
    memcpy(key->prefix, digest + 32, 32);
    memcpy(key->public_key, secret_key + 32, 32);
    wipe(digest, sizeof digest);
    wipe(&h, sizeof h);
}

/* SHA-512(first[0..32) second[0..32) message) modulo L; without `second` if that is NULL */
static void hash_to_scalar(uint8_t out[32], const uint8_t *first, const uint8_t *second, PyObject *message) {
    uint8_t digest[64];
    sha512 h;
    sha512_start(&h);
    sha512_add(&h, first, 32);
    if (second) sha512_add(&h, second, 32);
    sha512_add(&h, (const uint8_t *)PyBytes_AS_STRING(message), (size_t)PyBytes_GET_SIZE(message));
    sha512_end(&h, digest);
    reduce_bytes(out, digest);
    wipe(digest, sizeof digest);
    wipe(&h, sizeof h);
}

/* Points R for nonces[0..n), encoded. The last block is filled up with nonces that are there anyway. */
static void encode_nonces(workspace *w, uint8_t **out, int n) {
    const int blocks = (n + LANES - 1) / LANES;
    for (int b = 0; b < blocks; b++) {
        const uint8_t *nonces[LANES];
        for (int lane = 0; lane < LANES; lane++) nonces[lane] = w->nonce[b * LANES + lane < n ? b * LANES + lane : 0];
        multiply_base(&w->R[b], nonces);
        w->z[b] = w->R[b].Z;
    }
    invert_all(w->z, w->room, blocks);
    for (int b = 0; b < blocks; b++) {
        const int left = n - b * LANES;
        encode_points(out + b * LANES, left < LANES ? left : LANES, &w->R[b], &w->z[b]);
    }
}

/* Signatures over messages[0..n), n <= GROUP, into as many new bytes objects of 64. */
static void sign_group(const signing_key *key, workspace *w, PyObject **messages, uint8_t **signatures, int n) {
    for (int i = 0; i < n; i++) hash_to_scalar(w->nonce[i], key->prefix, NULL, messages[i]);
    encode_nonces(w, signatures, n);
    for (int i = 0; i < n; i++) {
        uint8_t challenge[32];
        hash_to_scalar(challenge, signatures[i], key->public_key, messages[i]);
        multiply_add(signatures[i] + 32, challenge, key->scalar, w->nonce[i]);
    }
}

/* Fill a list with signatures, group by group. False with an exception set if memory ran out. */
static int sign_all(const signing_key *key, workspace *w, PyObject *messages, PyObject *signed_list) {
    const Py_ssize_t n = PyTuple_GET_SIZE(messages);
    for (Py_ssize_t start = 0; start < n; start += GROUP) {
        const int size = (int)(n - start < GROUP ? n - start : GROUP);
        PyObject *group[GROUP];
        uint8_t *signatures[GROUP];
        for (int i = 0; i < size; i++) {
            PyObject *signature = PyBytes_FromStringAndSize(NULL, 64);
            if (!signature) return 0;
            PyList_SET_ITEM(signed_list, start + i, signature);
            signatures[i] = (uint8_t *)PyBytes_AS_STRING(signature);
            group[i] = PyTuple_GET_ITEM(messages, start + i);
        }
        sign_group(key, w, group, signatures, size);
    }
    return 1;
}

static int are_bytes(PyObject *messages) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(messages); i++) {
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(messages, i))) {
            PyErr_SetString(PyExc_TypeError, "every message must be bytes");
            return 0;
        }
    }
    return 1;
}

PyDoc_STRVAR(sign_doc,
             "sign(secret_key, messages) -> list of signatures, 64 bytes each, in the order of the messages.\n\n"
             "secret_key is the seed and its public key, 64 bytes; messages is any sequence of bytes.");

static PyObject *py_sign(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *secret_key;
    Py_ssize_t size;
    PyObject *sequence;
    if (!PyArg_ParseTuple(args, "y#O", &secret_key, &size, &sequence)) return NULL;
    if (size != 64) return PyErr_Format(PyExc_ValueError, "the secret key has %zd bytes, expected 64", size);
    PyObject *messages = PySequence_Tuple(sequence); /* holds the messages while they are read */
    if (!messages) return NULL;
    PyObject *signatures = are_bytes(messages) ? PyList_New(PyTuple_GET_SIZE(messages)) : NULL;
    if (signatures) {
        signing_key key;
        workspace w;
        expand_key(&key, (const uint8_t *)secret_key);
        if (!sign_all(&key, &w, messages, signatures)) Py_CLEAR(signatures);
        wipe(&key, sizeof key);
        wipe(&w, sizeof w);
    }
    Py_DECREF(messages);
    return signatures;
}

PyDoc_STRVAR(multiply_base_doc,
             "multiply_base(scalar) -> the encoded point scalar * B. The scalar is 32 bytes, the lowest first, below\n"
             "the group order. For the tests: sign() goes through the same code.");

static PyObject *py_multiply_base(PyObject *Py_UNUSED(module), PyObject *argument) {
    if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != 32)
        return PyErr_Format(PyExc_ValueError, "expected 32 bytes");
    workspace w;
    uint8_t encoded[32], *out = encoded;
    memcpy(w.nonce[0], PyBytes_AS_STRING(argument), 32);
    encode_nonces(&w, &out, 1);
    return PyBytes_FromStringAndSize((const char *)encoded, 32);
}

PyDoc_STRVAR(reduce_doc,
             "reduce(number) -> the number modulo the group order, 32 bytes, the lowest first; the number is 64 bytes\n"
             "in that order. For the tests: sign() goes through the same code.");

static PyObject *py_reduce(PyObject *Py_UNUSED(module), PyObject *argument) {
    if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != 64)
        return PyErr_Format(PyExc_ValueError, "expected 64 bytes");
    uint8_t reduced[32];
    reduce_bytes(reduced, (const uint8_t *)PyBytes_AS_STRING(argument));
    return PyBytes_FromStringAndSize((const char *)reduced, 32);
}

static PyMethodDef METHODS[] = {
    {"sign", py_sign, METH_VARARGS, sign_doc},
    {"multiply_base", py_multiply_base, METH_O, multiply_base_doc},
    {"reduce", py_reduce, METH_O, reduce_doc},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *Py_UNUSED(module)) {
    if (!__builtin_cpu_supports(NEEDED)) {
        PyErr_SetString(PyExc_ImportError, "this processor does not have " NEEDED);
        return -1;
    }
    make_table();
    return 0;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "batch_signer",
    .m_doc = "Ed25519 signatures over many messages with one key.",
    .m_size = 0,
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

#endif
