// How the search of the site weighs what it finds; read by Sphinx' searchtools.js.
// What one calls, smh.NAME, comes before what is inside it, and that before pages that speak of
// it. Of several names that begin alike the one that most people mean comes first.
const CALLED = /^smh\.\w+$/;
const MEANT = ["smh.quantize_weights"];

var Scorer = {
  score: (result) => {
    const [, title, , , score] = result;
    return score + (CALLED.test(title) ? 20 : 0) + (MEANT.includes(title) ? 5 : 0);
  },
  objNameMatch: 30,
  objPartialMatch: 20,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
