/*
 * A FIDO2 token in software, as a provider for ssh-keygen and ssh (the "middleware" interface that
 * OpenSSH describes in PROTOCOL.u2f and declares in sk-api.h, of which version 10 is repeated here).
 * It makes Ed25519 keys. A key's seed is the challenge that it is enrolled with and lies in the key
 * handle, so that one seed can be enrolled twice. Whoever asks it to verify its user is told that
 * it has; whoever does not is told that somebody was there, as a real one does.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 0x000a0000
#define ED25519 1
#define USER_PRESENT 0x01
#define USER_VERIFIED 0x04
#define FAILED -1
#define UNSUPPORTED -2

struct sk_enroll_response {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct sk_sign_response {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

struct sk_resident_key;
struct sk_option;

/* From libcrypto, whose headers need not be here. */
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
#define EVP_PKEY_ED25519 1087
EVP_PKEY *EVP_PKEY_new_raw_private_key(int, void *, const unsigned char *, size_t);
int EVP_PKEY_get_raw_public_key(const EVP_PKEY *, unsigned char *, size_t *);
void EVP_PKEY_free(EVP_PKEY *);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *);
int EVP_DigestSignInit(EVP_MD_CTX *, void **, const void *, void *, EVP_PKEY *);
int EVP_DigestSign(EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);
unsigned char *SHA256(const unsigned char *, size_t, unsigned char *);

uint32_t sk_api_version(void)
{
	return VERSION;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len,
    const char *application, uint8_t flags, const char *pin, struct sk_option **options,
    struct sk_enroll_response **response)
{
	struct sk_enroll_response *made = calloc(1, sizeof(*made));
	EVP_PKEY *key = NULL;
	int result = FAILED;

	(void)application;
	(void)pin;
	(void)options;
	if (alg != ED25519)
		return UNSUPPORTED;
	if (made == NULL)
		return FAILED;
	made->flags = flags;
	made->key_handle_len = made->public_key_len = 32;
	made->key_handle = malloc(32);
	made->public_key = malloc(32);
	made->signature = calloc(1, 1);
	made->attestation_cert = calloc(1, 1);
	made->authdata = calloc(1, 1);
	if (made->key_handle == NULL || made->public_key == NULL)
		goto out;
	SHA256(challenge, challenge_len, made->key_handle);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, made->key_handle, 32);
	if (key == NULL || !EVP_PKEY_get_raw_public_key(key, made->public_key, &made->public_key_len))
		goto out;
	*response = made;
	made = NULL;
	result = 0;
out:
	EVP_PKEY_free(key);
	free(made);
	return result;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
    const uint8_t *key_handle, size_t key_handle_len, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_sign_response **response)
{
	/* PROTOCOL.u2f: SHA-256 of the application, flags, counter, SHA-256 of the data. */
	unsigned char message[32 + 1 + 4 + 32] = { 0 };
	struct sk_sign_response *made = calloc(1, sizeof(*made));
	EVP_PKEY *key = NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int result = FAILED;

	(void)pin;
	(void)options;
	if (alg != ED25519 || key_handle_len != 32 || made == NULL || context == NULL)
		goto out;
	made->flags = USER_PRESENT | (flags & USER_VERIFIED);
	made->counter = 1;
	SHA256((const unsigned char *)application, strlen(application), message);
	message[32] = made->flags;
	message[36] = 1;
	SHA256(data, data_len, message + 37);
	made->sig_r_len = 64;
	made->sig_r = malloc(64);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key_handle, 32);
	if (made->sig_r == NULL || key == NULL ||
	    !EVP_DigestSignInit(context, NULL, NULL, NULL, key) ||
	    !EVP_DigestSign(context, made->sig_r, &made->sig_r_len, message, sizeof(message)))
		goto out;
	*response = made;
	made = NULL;
	result = 0;
out:
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	free(made);
	return result;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options,
    struct sk_resident_key ***keys, size_t *count)
{
	(void)pin;
	(void)options;
	(void)keys;
	(void)count;
	return UNSUPPORTED;
}
