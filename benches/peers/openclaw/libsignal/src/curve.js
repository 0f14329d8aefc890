// See index.js. The names are what is imported; none is ever called.
exports.calculateSignature = exports.generateKeyPair = exports.verifySignature = undefined;
