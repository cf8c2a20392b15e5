/* Field arithmetic on limbs at their bounds, which no signature ever reaches: a line for each lane and operation, with
   the limbs of what went in and came out, for test_batch_signing.py to do again with whole numbers.

     M f g r words    r = f g, and the words of r
     A a b r          r = a + b
     S a b r          r = a - b
     C a words        the words of a */

#include <stdio.h>
#include <stdlib.h>

#include LIMBS_HEADER /* given by the test, as are TIGHT, LOOSE and LOOSEST: bounds of even limbs */

#include "field.h"

static u64 random_word(void) {
    u64 word = 0;
    for (int i = 0; i < 5; i++) word = word << 15 ^ (u64)rand();
    return word;
}

/* Each limb is its bound less one, two times of three, else anything below. */
static void fill(field *r, double bound) {
    for (int i = 0; i < LIMBS; i++) {
        const u64 most = (u64)(bound / (limb_bits(i) == 25 ? 2 : 1));
        for (int lane = 0; lane < LANES; lane++) r->v[i][lane] = rand() % 3 ? most - 1 : random_word() % most;
    }
}

/* p and its neighbours, in limbs that are all full. */
static void fill_near_p(field *r, u64 below) {
    for (int i = 0; i < LIMBS; i++)
        for (int lane = 0; lane < LANES; lane++) r->v[i][lane] = ((u64)1 << limb_bits(i)) - 1 - (i ? 0 : below);
}

static void print_limbs(const field *a, int lane) {
    for (int i = 0; i < LIMBS; i++) printf(" %llu", (unsigned long long)a->v[i][lane]);
}

static void print_words(const field *a, int lane) {
    u64 words[4];
    canonical(words, a, lane);
    for (int i = 0; i < 4; i++) printf(" %llu", (unsigned long long)words[i]);
}

static void print(char operation, const field *a, const field *b, const field *r) {
    for (int lane = 0; lane < LANES; lane++) {
        putchar(operation);
        print_limbs(a, lane);
        if (b) print_limbs(b, lane);
        if (r) print_limbs(r, lane);
        if (operation == 'M' || operation == 'C') print_words(r ? r : a, lane);
        putchar('\n');
    }
}

int main(void) {
    field a, b, r;
    for (u64 i = 0; i < 300; i++) {
        fill(&a, LOOSEST);
        fill(&b, LOOSE);
        multiply(&r, &a, &b);
        print('M', &a, &b, &r);
        fill(&a, TIGHT);
        fill(&b, TIGHT);
        add(&r, &a, &b);
        print('A', &a, &b, &r);
        subtract(&r, &a, &b);
        print('S', &a, &b, &r);
        print('C', &a, NULL, NULL);
        fill_near_p(&a, i % 40);
        print('C', &a, NULL, NULL);
    }
    return 0;
}
