/* SHA-256 over many messages, over rows that are spelt as JSON by a template, and over the levels of a Merkle tree. For
   processors with the SHA instructions. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "sha256.h"

/* One message while it is put together. */
typedef struct {
    uint8_t *bytes;
    size_t size, room;
} message;

/* Where the next `more` bytes of a message go; NULL with an exception set if there is no memory. */
static uint8_t *extend(message *m, size_t more) {
    if (m->size + more >= m->room) { /* also the first time: never NULL, however short */
        const size_t room = 2 * (m->size + more) + 1024;
        uint8_t *bytes = PyMem_Realloc(m->bytes, room);
        if (!bytes) {
            PyErr_NoMemory();
            return NULL;
        }
        m->bytes = bytes;
        m->room = room;
    }
    m->size += more;
    return m->bytes + m->size - more;
}

static int append_bytes(message *m, const void *from, size_t size) {
    uint8_t *to = extend(m, size);
    if (to) memcpy(to, from, size);
    return to != NULL;
}

/* What JSON puts for a byte of UTF-8 that cannot stand for itself: its size, or 0 if it can. */
static size_t escape(char out[8], uint8_t byte) {
    if (byte >= 0x20 && byte != '"' && byte != '\\') return 0;
    out[0] = '\\';
    if (byte >= 0x20 || (byte >= '\b' && byte <= '\r' && byte != '\v')) {
        out[1] = byte >= 0x20 ? (char)byte : "btn?fr"[byte - '\b'];
        return 2;
    }
    return (size_t)PyOS_snprintf(out + 1, 7, "u%04x", byte) + 1;
}

/* A text in quotes, the way json.dumps(text, ensure_ascii=False) spells it. */
static int append_quoted(message *m, PyObject *text) {
    Py_ssize_t size, plain = 0;
    char escaped[8];
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (!utf8 || !append_bytes(m, "\"", 1)) return 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        const size_t more = escape(escaped, (uint8_t)utf8[i]);
        if (!more) continue;
        if (!append_bytes(m, utf8 + plain, (size_t)(i - plain)) || !append_bytes(m, escaped, more)) return 0;
        plain = i + 1;
    }
    return append_bytes(m, utf8 + plain, (size_t)(size - plain)) && append_bytes(m, "\"", 1);
}

static int append_decimal(message *m, PyObject *number) {
    const long long value = PyLong_AsLongLong(number);
    if (value == -1 && PyErr_Occurred()) return 0;
    char digits[20]; /* of -2^63: a sign and 19 digits */
    size_t at = sizeof digits;
    u64 rest = value < 0 ? 0 - (u64)value : (u64)value;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0) digits[--at] = '-';
    return append_bytes(m, digits + at, sizeof digits - at);
}

/* A digest in hexadecimal digits and quotes, or null for zeros. */
static int append_digest(message *m, const uint8_t digest[SHA256_BYTES]) {
    static const uint8_t NONE[SHA256_BYTES];
    if (!memcmp(digest, NONE, SHA256_BYTES)) return append_bytes(m, "null", 4);
    uint8_t *to = extend(m, 2 * SHA256_BYTES + 2);
    if (!to) return 0;
    *to++ = '"';
    for (int i = 0; i < SHA256_BYTES; i++) {
        *to++ = (uint8_t)"0123456789abcdef"[digest[i] >> 4];
        *to++ = (uint8_t)"0123456789abcdef"[digest[i] & 15];
    }
    *to = '"';
    return 1;
}

static int append_column(message *m, PyObject *row, Py_ssize_t column) {
    if (!PyTuple_Check(row) || column >= PyTuple_GET_SIZE(row)) {
        PyErr_SetString(PyExc_TypeError, "a row is no tuple, or too short for the template");
        return 0;
    }
    PyObject *value = PyTuple_GET_ITEM(row, column);
    if (column == 0 && PyLong_CheckExact(value)) return append_decimal(m, value);
    if (column > 0 && PyUnicode_CheckExact(value)) return append_quoted(m, value);
    if (column > 0 && value == Py_None) return append_bytes(m, "null", 4);
    PyErr_Format(PyExc_TypeError, "column %zd is of type %.100s", column, Py_TYPE(value)->tp_name);
    return 0;
}

/* One row by the template, whose numbers are columns, or -1 for the digest. */
static int append_row(message *m, PyObject *template, PyObject *row, const uint8_t *digest) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(template); i++) {
        PyObject *part = PyTuple_GET_ITEM(template, i);
        if (PyUnicode_CheckExact(part)) {
            Py_ssize_t size;
            const char *utf8 = PyUnicode_AsUTF8AndSize(part, &size);
            if (!utf8 || !append_bytes(m, utf8, (size_t)size)) return 0;
        } else {
            const Py_ssize_t column = PyLong_AsSsize_t(part);
            if (column == -1 && PyErr_Occurred()) return 0;
            if (!(column < 0 ? append_digest(m, digest) : append_column(m, row, column))) return 0;
        }
    }
    return 1;
}

/* The hashes of all rows into out, which has room for them. */
static int hash_all(uint8_t *out, PyObject *template, PyObject *rows, const uint8_t *digests) {
    message m = {NULL, 0, 0};
    Py_ssize_t i = 0;
    for (; i < PyTuple_GET_SIZE(rows); i++) {
        m.size = 0;
        if (!extend(&m, 0) || !append_row(&m, template, PyTuple_GET_ITEM(rows, i), digests + i * SHA256_BYTES)) break;
        sha256(out + i * SHA256_BYTES, m.bytes, m.size);
    }
    PyMem_Free(m.bytes);
    return i == PyTuple_GET_SIZE(rows);
}

PyDoc_STRVAR(hash_rows_doc,
             "hash_rows(template, rows, digests) -> the SHA-256 of each row, 32 bytes each, side by side.\n\n"
             "template is a tuple: a str stands for itself, a number for that column of the row, -1 for the digest of the\n"
             "row, of which digests has 32 bytes for each. Column 0 is an int, in decimal digits, any other a str, in\n"
             "quotes and escaped as JSON does, or None, spelt null. A digest is spelt in hexadecimal digits and quotes,\n"
             "zeros as null. TypeError for a value of another type, also of a subclass.");

static PyObject *py_hash_rows(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *template, *sequence, *digests;
    if (!PyArg_ParseTuple(args, "O!OS", &PyTuple_Type, &template, &sequence, &digests)) return NULL;
    PyObject *rows = PySequence_Tuple(sequence);
    if (!rows) return NULL;
    const Py_ssize_t size = PyTuple_GET_SIZE(rows) * SHA256_BYTES;
    PyObject *hashes = NULL;
    if (PyBytes_GET_SIZE(digests) != size)
        PyErr_Format(PyExc_ValueError, "%zd bytes of digests, expected %zd", PyBytes_GET_SIZE(digests), size);
    else
        hashes = PyBytes_FromStringAndSize(NULL, size);
    if (hashes && !hash_all((uint8_t *)PyBytes_AS_STRING(hashes), template, rows,
                            (const uint8_t *)PyBytes_AS_STRING(digests)))
        Py_CLEAR(hashes);
    Py_DECREF(rows);
    return hashes;
}

PyDoc_STRVAR(hash_each_doc,
             "hash_each(messages) -> the SHA-256 of each message, 32 bytes each, side by side.\n\n"
             "messages is any sequence of bytes.");

static PyObject *py_hash_each(PyObject *Py_UNUSED(module), PyObject *sequence) {
    PyObject *messages = PySequence_Tuple(sequence);
    if (!messages) return NULL;
    PyObject *hashes = PyBytes_FromStringAndSize(NULL, PyTuple_GET_SIZE(messages) * SHA256_BYTES);
    for (Py_ssize_t i = 0; hashes && i < PyTuple_GET_SIZE(messages); i++) {
        PyObject *message = PyTuple_GET_ITEM(messages, i);
        if (PyBytes_CheckExact(message)) {
            const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(message);
            sha256((uint8_t *)PyBytes_AS_STRING(hashes) + i * SHA256_BYTES, bytes, (size_t)PyBytes_GET_SIZE(message));
        } else {
            PyErr_Format(PyExc_TypeError, "expected bytes, not %.100s", Py_TYPE(message)->tp_name);
            Py_CLEAR(hashes);
        }
    }
    Py_DECREF(messages);
    return hashes;
}

PyDoc_STRVAR(perfect_root_doc,
             "perfect_root(hashes) -> the root over leaf hashes, by RFC 6962, section 2.1.\n\n"
             "hashes is 32 bytes for each leaf, side by side; their number is a power of two.");

static PyObject *py_perfect_root(PyObject *Py_UNUSED(module), PyObject *hashes) {
    if (!PyBytes_CheckExact(hashes)) return PyErr_Format(PyExc_TypeError, "expected bytes");
    const Py_ssize_t size = PyBytes_GET_SIZE(hashes);
    Py_ssize_t leaves = size / SHA256_BYTES;
    if (size % SHA256_BYTES || leaves < 1 || leaves & (leaves - 1))
        return PyErr_Format(PyExc_ValueError, "%zd bytes, expected 32 for each of a power of two of leaves", size);
    uint8_t *nodes = PyMem_Malloc((size_t)size), node[1 + 2 * SHA256_BYTES] = {1};
    if (!nodes) return PyErr_NoMemory();
    memcpy(nodes, PyBytes_AS_STRING(hashes), (size_t)size);
    for (; leaves > 1; leaves /= 2) {
        for (Py_ssize_t i = 0; i < leaves / 2; i++) {
            memcpy(node + 1, nodes + 2 * SHA256_BYTES * i, 2 * SHA256_BYTES);
            sha256(nodes + SHA256_BYTES * i, node, sizeof node);
        }
    }
    PyObject *root = PyBytes_FromStringAndSize((const char *)nodes, SHA256_BYTES);
    PyMem_Free(nodes);
    return root;
}

static PyMethodDef METHODS[] = {
    {"hash_each", py_hash_each, METH_O, hash_each_doc},
    {"hash_rows", py_hash_rows, METH_VARARGS, hash_rows_doc},
    {"perfect_root", py_perfect_root, METH_O, perfect_root_doc},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *Py_UNUSED(module)) {
    if (has_sha_instructions()) return 0;
    PyErr_SetString(PyExc_ImportError, "this processor has no SHA instructions");
    return -1;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_batch_hasher",
    .m_doc = "SHA-256 over many messages, over rows spelt by a template, and over perfect Merkle trees.",
    .m_size = 0,
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__batch_hasher(void) { return PyModuleDef_Init(&MODULE); }
