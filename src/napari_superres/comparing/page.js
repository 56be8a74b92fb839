const dialog = document.querySelector("dialog");
const [left, right] = dialog.querySelectorAll("select");
const [under, over] = dialog.querySelectorAll(".swipe img");
const line = dialog.querySelector("i");
const at = dialog.querySelector("#at");
let shown = [];
const place = () => {
  over.style.clipPath = `inset(0 0 0 ${at.value}%)`;
  line.style.left = `${at.value}%`;
};
const show = () => {
  under.src = shown[left.value].src;
  over.src = shown[right.value].src;
};
for (const button of document.querySelectorAll("button.frame")) {
  button.addEventListener("click", () => {
    shown = [...button.closest(".strip").querySelectorAll("button.frame img")];
    for (const select of [left, right]) {
      select.replaceChildren(...shown.map((one, i) => new Option(one.alt, i)));
    }
    const own = shown.indexOf(button.querySelector("img"));
    left.value = own === 0 ? Math.min(1, shown.length - 1) : 0;
    right.value = own;
    at.value = 50;
    show();
    place();
    dialog.showModal();
  });
}
left.addEventListener("change", show);
right.addEventListener("change", show);
at.addEventListener("input", place);
dialog.querySelector("button").addEventListener("click", () => dialog.close());
