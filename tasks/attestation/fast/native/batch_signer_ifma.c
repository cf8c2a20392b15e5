/* The batch signer for processors with AVX-512 IFMA. */

#include "limbs_ifma.h"

#include "batch_signer.h"

PyMODINIT_FUNC PyInit__batch_signer_ifma(void) { return PyModuleDef_Init(&MODULE); }
