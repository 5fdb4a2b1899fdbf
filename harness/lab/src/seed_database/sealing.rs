//! A signing secret as the server stores it: XChaCha20-Poly1305, bound to its webhook. Written from the server's
//! documentation of the format, so that the server can deliver to webhooks of a fill.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use tenterhook_harness::keys;
use tenterhook_harness::rng::Rng;

const FORMAT: u8 = 1;
/// The kind of the sealed bytes: a signing secret.
const FIELD: u8 = 2;

/// Creates secrets and seals them under the harness's key. They are pseudo-random: anyone with the key could open them
/// anyway.
pub struct Sealer {
    key: [u8; 32],
    rng: Rng,
}

impl Sealer {
    /// With random numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let digit = |at: usize| u8::from_str_radix(&keys::SEALING_KEY[2 * at..2 * at + 2], 16);
        Self {
            key: std::array::from_fn(|at| digit(at).expect("the key is hexadecimal")),
            rng: Rng::new(seed),
        }
    }

    /// A new sealed secret of the webhook with these id bytes.
    pub fn secret(&mut self, webhook: &[u8; 16]) -> Vec<u8> {
        let digest = Sha256::new()
            .chain_update(b"tenterhook sealing key id")
            .chain_update(self.key)
            .finalize();
        let (secret, nonce): ([u8; 32], [u8; 24]) = (self.bytes(), self.bytes());
        let payload = Payload {
            msg: &secret,
            aad: &[&[FIELD], &webhook[..]].concat(),
        };
        let cipher = XChaCha20Poly1305::new(&Key::from(self.key));
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("encryption fails only beyond 256 GiB");
        [&[FORMAT], &digest[..4], &nonce, &sealed].concat()
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.rng.roll().to_le_bytes()[0])
    }
}
