//! The few operations on 64-bit words that every hash here is made of.

/// Numbers that follow from a seed (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.0)
    }
}

/// A bijection after which every bit hangs on every bit (the finalizer of SplitMix64).
#[inline]
pub(crate) fn scramble(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Both halves of a product, folded into one word.
#[inline]
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A product modulo the prime 2⁶¹ − 1 of factors below it.
#[inline]
pub(super) fn multiply_modulo(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    below_prime((product as u64 & PRIME) + ((product >> 61) as u64))
}

/// A sum modulo the prime 2⁶¹ − 1 of terms below it.
#[inline]
pub(super) fn add_modulo(a: u64, b: u64) -> u64 {
    below_prime(a + b)
}

/// A difference modulo the prime 2⁶¹ − 1 of terms below it.
#[inline]
pub(super) fn subtract_modulo(a: u64, b: u64) -> u64 {
    below_prime(a + PRIME - b)
}

/// The prime 2⁶¹ − 1.
pub(super) const PRIME: u64 = (1 << 61) - 1;

/// A number below twice the prime, modulo the prime.
#[inline]
fn below_prime(number: u64) -> u64 {
    if number >= PRIME { number - PRIME } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prime_field() {
        let mut draws = Draws::new(1);
        for _ in 0..1000 {
            let (a, b) = (draws.draw() % PRIME, draws.draw() % PRIME);
            let prime = u128::from(PRIME);
            assert_eq!(u128::from(multiply_modulo(a, b)), u128::from(a) * u128::from(b) % prime);
            assert_eq!(u128::from(add_modulo(a, b)), (u128::from(a) + u128::from(b)) % prime);
            assert_eq!(add_modulo(subtract_modulo(a, b), b), a);
        }
        assert_eq!(multiply_modulo(PRIME - 1, PRIME - 1), 1);
    }
}
