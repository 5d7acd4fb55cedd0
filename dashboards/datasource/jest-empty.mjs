// Stands for style sheets and pictures, which jsdom does not draw.
export default function Empty() {
  return null;
}
