/* The batch signer for processors with AVX2. */

#include "limbs_avx2.h"

#include "batch_signer.h"

PyMODINIT_FUNC PyInit__batch_signer_avx2(void) { return PyModuleDef_Init(&MODULE); }
