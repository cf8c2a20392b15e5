/* Numbers modulo p = 2^255 - 19, LANES of them at once: what limbs_*.h leaves open.

   No branch and no index depends on a value. */

#ifndef FIELD_H
#define FIELD_H

static inline lanes same(u64 word) { return (lanes){0} + word; }

/* A number below 2^255, as words of 64 bits, in every lane. */
static inline void set_all(field *r, const u64 words[4]) {
    for (int i = 0; i < LIMBS; i++) {
        const int at = limb_position(i) / 64, shift = limb_position(i) % 64;
        u64 limb = words[at] >> shift;
        if (shift && at < 3) limb |= words[at + 1] << (64 - shift);
        r->v[i] = same(limb & (((u64)1 << limb_bits(i)) - 1));
    }
}

static inline void add(field *r, const field *a, const field *b) {
    for (int i = 0; i < LIMBS; i++) r->v[i] = a->v[i] + b->v[i];
    settle(r);
}

/* a - b + 2p; b is tight, or a limb could fall below zero. */
static inline void subtract(field *r, const field *a, const field *b) {
    for (int i = 0; i < LIMBS; i++) {
        const u64 twice_p = ((u64)2 << limb_bits(i)) - (i ? 2 : 38);
        r->v[i] = a->v[i] + twice_p - b->v[i];
    }
    settle(r);
}

static inline void swap_if(field *a, field *b, lanes mask) {
    for (int i = 0; i < LIMBS; i++) {
        const lanes changed = (a->v[i] ^ b->v[i]) & mask;
        a->v[i] ^= changed;
        b->v[i] ^= changed;
    }
}

static const u64 ONE[4] = {1};

/* The same number in tight limbs. */
static inline void tighten(field *a) {
    field one;
    set_all(&one, ONE);
    multiply(a, a, &one);
}

/* 1 / z, and 0 for 0: z^(p - 2), whose bits are public. */
static void invert(field *r, const field *z) {
    field result = *z; /* p - 2 = 2^255 - 21: of the bits 254 to 0, all are ones but 4 and 2 */
    for (int bit = 253; bit >= 0; bit--) {
        multiply(&result, &result, &result);
        if (bit != 4 && bit != 2) multiply(&result, &result, z);
    }
    *r = result;
}

/* Replace z[0..n) by their inverses at the price of one inversion (Montgomery's trick). None may be 0; all are tight.
   `before` is room for n. */
static void invert_all(field *z, field *before, int n) {
    field product, inverse, one;
    set_all(&product, ONE);
    for (int i = 0; i < n; i++) {
        before[i] = product;
        multiply(&product, &product, &z[i]);
    }
    invert(&inverse, &product);
    for (int i = n - 1; i >= 0; i--) {
        multiply(&one, &inverse, &before[i]);
        multiply(&inverse, &inverse, &z[i]);
        z[i] = one;
    }
}

/* One lane of a tight number, as the four words of the one number in [0, p) that it stands for. */
static void canonical(u64 words[4], const field *a, int lane) {
    u64 t[5], carry = 0;
    limbs_of_51(t, a, lane);
    for (int i = 0; i < 5; i++) {
        carry += t[i];
        t[i] = carry & 0x7ffffffffffff;
        carry >>= 51;
    }
    t[0] += 19 * carry; /* the number is below 2p now */
    carry = (t[0] + 19) >> 51;
    for (int i = 1; i < 5; i++) carry = (t[i] + carry) >> 51; /* 1 if it is not below p */
    carry *= 19;
    for (int i = 0; i < 5; i++) {
        carry += t[i];
        t[i] = carry & 0x7ffffffffffff;
        carry >>= 51;
    } /* what is left of the carry is the 2^255 of p + 19 */
    words[0] = t[0] | t[1] << 51;
    words[1] = t[1] >> 13 | t[2] << 38;
    words[2] = t[2] >> 26 | t[3] << 25;
    words[3] = t[3] >> 39 | t[4] << 12;
}

#endif
