package assets

// IsDigest tells whether text is a SHA-256 in lower case hexadecimal, and so safe as a subject token.
func IsDigest(text string) bool {
	if len(text) != 64 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
