// Offers the other versions of the site, where they lie beside this one (docs/versions.py).
// A site of one version, or one opened from a disk, has no list: then nothing is shown.
document.addEventListener("DOMContentLoaded", async () => {
  const root = document.documentElement.dataset.content_root || "./";
  const brand = document.querySelector(".sidebar-brand");
  if (!brand || location.protocol === "file:") return;
  const answer = await fetch(`${root}../versions.json`).catch(() => null);
  if (!answer || !answer.ok) return;
  const list = document.createElement("nav");
  list.className = "versions";
  list.setAttribute("aria-label", "versions");
  for (const version of await answer.json()) {
    const link = document.createElement("a");
    link.textContent = version;
    link.href = `${root}../${version}/index.html`;
    if (brand.textContent.includes(version)) link.setAttribute("aria-current", "true");
    list.append(link);
  }
  brand.after(list);
});
