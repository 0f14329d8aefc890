// In place of the git dependency of the same name, which encrypts for a messenger that the
// benchmark never starts.
module.exports = {};
