// See index.js. The names are what is imported; none is ever called.
exports.calculateMAC = exports.decrypt = exports.deriveSecrets = exports.encrypt = undefined;
