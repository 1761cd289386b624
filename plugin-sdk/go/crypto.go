//go:build wasip1

package gateway

import (
	"strconv"
	"unsafe"
)

//go:wasmimport gateway:plugin/crypto@0.2.0 verify
func cryptoVerify(algorithm uint32, kind uint32, key unsafe.Pointer, keyLength uint32, message unsafe.Pointer, length uint32, signature unsafe.Pointer, signatureLength uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 sign
func cryptoSign(algorithm uint32, kind uint32, key unsafe.Pointer, keyLength uint32, message unsafe.Pointer, length uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 encrypt
func cryptoEncrypt(cipher uint32, kind uint32, key unsafe.Pointer, keyLength uint32, plaintext unsafe.Pointer, length uint32, associated unsafe.Pointer, associatedLength uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 decrypt
func cryptoDecrypt(cipher uint32, kind uint32, key unsafe.Pointer, keyLength uint32, ciphertext unsafe.Pointer, length uint32, associated unsafe.Pointer, associatedLength uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 derive-key
func cryptoDeriveKey(hash uint32, kind uint32, key unsafe.Pointer, keyLength uint32, salt unsafe.Pointer, saltLength uint32, info unsafe.Pointer, infoLength uint32, length uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 digest
func cryptoDigest(hash uint32, data unsafe.Pointer, length uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 random-bytes
func cryptoRandomBytes(length uint32, ret unsafe.Pointer)

//go:wasmimport gateway:plugin/crypto@0.2.0 verify-password
func cryptoVerifyPassword(hash string, password unsafe.Pointer, length uint32, remember uint32, ret unsafe.Pointer)

// Algorithm is how a signature is made, by its name in JOSE (RFC 7518 §3.1, RFC 8037 §3.1).
type Algorithm uint32

const (
	HS256 Algorithm = iota
	HS384
	HS512
	RS256
	RS384
	RS512
	PS256
	PS384
	PS512
	ES256
	ES384
	ES512
	// EdDSA is Ed25519.
	EdDSA
)

// Hash is a hash function.
type Hash uint32

const (
	SHA256 Hash = iota
	SHA384
	SHA512
)

// Cipher is one for authenticated encryption with associated data (RFC 5116).
type Cipher uint32

const (
	// AES128GCM has keys of 16 bytes.
	AES128GCM Cipher = iota
	// AES256GCM has keys of 32 bytes.
	AES256GCM
	// ChaCha20Poly1305 has keys of 32 bytes.
	ChaCha20Poly1305
)

// Key is a key's bytes, or the name of a secret.
type Key struct {
	kind  uint32
	value []byte
}

// KeyBytes is the key itself.
func KeyBytes(key []byte) Key { return Key{0, key} }

// SecretKey is the value of the secret of this name. The grant `use` is enough: the plugin cannot read such a secret.
func SecretKey(name string) Key { return Key{1, []byte(valid(name))} }

func start(list []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list))
}

// Verify checks a signature: `imports: [crypto]`. The key is the secret for HMAC, and a public key as SubjectPublicKeyInfo, in DER
// or PEM, for the others. ECDSA signatures are in the fixed-length form of RFC 7518 §3.4.
func Verify(algorithm Algorithm, key Key, message, signature []byte) (bool, error) {
	k, kl := start(key.value)
	m, ml := start(message)
	s, sl := start(signature)
	cryptoVerify(uint32(algorithm), key.kind, k, kl, m, ml, s, sl, at(0))
	if u8(0) != 0 {
		return false, notComputed()
	}
	return u8(8) != 0, nil
}

// Sign makes a signature. The key is the secret for HMAC, and a private key as PKCS#8, in DER or PEM, for the others.
func Sign(algorithm Algorithm, key Key, message []byte) ([]byte, error) {
	k, kl := start(key.value)
	m, ml := start(message)
	cryptoSign(uint32(algorithm), key.kind, k, kl, m, ml, at(0))
	return computed()
}

// Encrypt encrypts with authentication. The result is a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. Decrypt
// needs the same associated data. The key has the length that the cipher needs, or is base64 of that.
func Encrypt(cipher Cipher, key Key, plaintext, associatedData []byte) ([]byte, error) {
	k, kl := start(key.value)
	p, pl := start(plaintext)
	a, al := start(associatedData)
	cryptoEncrypt(uint32(cipher), key.kind, k, kl, p, pl, a, al, at(0))
	return computed()
}

// Decrypt decrypts what Encrypt returned. The error's Code is "not-authentic" if it was not encrypted with this key and this
// associated data, or has changed since.
func Decrypt(cipher Cipher, key Key, ciphertext, associatedData []byte) ([]byte, error) {
	k, kl := start(key.value)
	c, cl := start(ciphertext)
	a, al := start(associatedData)
	cryptoDecrypt(uint32(cipher), key.kind, k, kl, c, cl, a, al, at(0))
	return computed()
}

// DeriveKey derives a key of the given length in bytes from another key with HKDF (RFC 5869). Another info gives an independent key.
func DeriveKey(hash Hash, key Key, salt, info []byte, length uint32) ([]byte, error) {
	k, kl := start(key.value)
	s, sl := start(salt)
	i, il := start(info)
	cryptoDeriveKey(uint32(hash), key.kind, k, kl, s, sl, i, il, length, at(0))
	return computed()
}

// Digest hashes at most 8 MiB.
func Digest(hash Hash, data []byte) ([]byte, error) {
	d, dl := start(data)
	cryptoDigest(uint32(hash), d, dl, at(0))
	return computed()
}

// RandomBytes are of the system's random number generator, at most 64 KiB.
func RandomBytes(length uint32) ([]byte, error) {
	cryptoRandomBytes(length, at(0))
	return computed()
}

// VerifyPassword says whether a password matches a hash: argon2id in PHC string format, or bcrypt ($2a$, $2b$, $2y$). The worker
// caches a verified pair as a keyed hash for rememberMs, at most one hour; otherwise the call waits for another thread. The Code of an
// error is "malformed-hash", "busy" (too many passwords are being verified) or "other".
func VerifyPassword(hash string, password []byte, rememberMs uint32) (bool, error) {
	p, pl := start(password)
	cryptoVerifyPassword(valid(hash), p, pl, rememberMs, at(0))
	if u8(0) != 0 {
		return false, variant("password", 4, "malformed-hash", "busy", "other")
	}
	defer copied()
	return u8(4) != 0, nil
}

func computed() ([]byte, error) {
	if u8(0) != 0 {
		return nil, notComputed()
	}
	defer copied()
	return bytes(8), nil
}

func notComputed() error {
	defer copied()
	codes := [...]string{"denied", "missing", "malformed-key", "unsupported", "too-large", "not-authentic", "other"}
	made := &Error{What: "crypto", Code: codes[min(int(u8(8)), len(codes)-1)]}
	switch made.Code {
	case "too-large":
		made.Detail = strconv.FormatUint(u64(16), 10)
	case "unsupported", "not-authentic":
	default:
		made.Detail = text(16)
	}
	return made
}
