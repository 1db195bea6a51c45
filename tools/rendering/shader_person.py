"""The shader programs of the person: skin, eyes, cloth, hair, shoes (GLSL 3.30).

One program for each material, because software GL runs both sides of every branch.
"""

from .shaders import LENS, LIGHT

PERSON_VERTEX = (
    "#version 330\n"
    + LENS
    + """
in vec3 xyz; in vec3 normal;
in vec3 rest; in vec3 rest_normal; in vec3 paint; in vec3 extra;   // extra: field, along, limb
out vec3 world; out vec3 n; out vec3 r; out vec3 rn; out vec3 p; out vec3 e;
void main() {
    world = xyz; n = normal; r = rest; rn = rest_normal; p = paint; e = extra;
    gl_Position = project(xyz);
}
"""
)

_COMMON = """
in vec3 world; in vec3 n; in vec3 r; in vec3 rn; in vec3 p; in vec3 e;
uniform sampler2D noise;
uniform vec3 rgb; uniform vec3 rgb2;
out vec4 pixel;
struct Surface { vec3 albedo; vec3 N; float shine; float power; float wrap; vec3 soft; float inside; };

vec4 noise3(vec3 q) {              // four noises of mean 0 that stick to the rest body
    vec3 w = abs(rn); w *= w; w /= w.x + w.y + w.z;
    return (w.x * texture(noise, q.zy) + w.y * texture(noise, q.xz) + w.z * texture(noise, q.xy)) * 2.0 - 1.0;
}
vec3 bump(vec3 N, float h) {       // h: height in metres
    vec3 dx = dFdx(world), dy = dFdy(world);
    vec3 a = cross(dy, N), b = cross(N, dx);
    float det = dot(dx, a);
    vec3 out_ = abs(det) * N - sign(det) * (dFdx(h) * a + dFdy(h) * b);
    return dot(out_, out_) > 1e-24 ? normalize(out_) : N;
}
float band(float x, float share) { // 0 or 1 with a soft edge of one pixel; period 1
    float f = fract(x), w = clamp(fwidth(x), 1e-4, 0.5);
    return smoothstep(0.0, w, f) - smoothstep(share, share + w, f);
}
"""

_LIT = """
void main() {
    vec3 V = normalize(eye - world);
    Surface s = surface(normalize(n), V);
    vec3 N = s.N, albedo = clamp(s.albedo, 0.003, 0.95);
    float open = open_share(), lit = dot(N, towards), front = max(dot(N, V), 0.0);
    vec3 light = ambient(N, open);
    light += fill * max((dot(N, fill_towards) + s.wrap) / (1.0 + s.wrap), 0.0) * (0.4 + 0.6 * open);
    float shade = shadow(world, N);
    vec3 turned = max((vec3(lit) + s.wrap + s.soft) / (1.0 + s.wrap + s.soft), 0.0);
    light += key * mix(vec3(max(lit, 0.0)), turned, 0.7) * shade;
    vec3 colour = albedo * light * s.inside;
    float away = 1.0 - front, rim = away * away * away;
    float glint = s.shine * (s.power + 8.0) / 40.0 * pow(max(dot(N, normalize(V + towards)), 0.0), s.power);
    colour += key * glint * max(lit, 0.0) * shade * (0.35 + 0.65 * rim * away);
    colour += sky * s.shine * 0.25 * open * rim * (0.35 + 0.65 * rim) * s.inside;
    pixel = vec4(colour, 1.0);
}
"""

_SKIN = """
uniform float oil; uniform float blemish;
uniform vec4 sock;                 // rgb, height
Surface surface(vec3 N, vec3 V) {
    vec4 fine = noise3(r * 5.0), coarse = noise3(r * 1.1);
    vec3 albedo = p * (1.0 + blemish * (0.12 * coarse.x + 0.14 * min(fine.y, 0.0)) + 0.035 * fine.x);
    albedo *= vec3(1.0, 1.0 - 0.05 * coarse.z, 1.0 - 0.05 * coarse.z);
    N = bump(N, 0.0003 * fine.z + 0.0005 * coarse.w);
    float shine = (0.05 + 0.16 * oil) * (1.0 + 0.6 * fine.w);
    float knit = smoothstep(0.0, 0.001, sock.w - r.y);
    albedo = mix(albedo, sock.rgb * (1.0 + 0.1 * fine.x), knit);
    shine *= 1.0 - 0.8 * knit;
    return Surface(albedo, N, shine, 14.0 + 22.0 * oil, 0.22, vec3(0.30, 0.08, 0.03), 1.0);
}
"""

_EYE = """
uniform vec3 eye_at[2]; uniform float eye_radius;
Surface surface(vec3 N, vec3 V) {
    vec3 d = r - eye_at[r.x > 0.0 ? 0 : 1];
    float a = length(d.xy) / eye_radius, w = fwidth(a) + 0.02;
    vec3 white = vec3(0.62, 0.56, 0.53) * (1.0 - 0.35 * smoothstep(0.5, 1.0, a));
    vec3 ring = rgb * (0.6 + 0.5 * texture(noise, d.xy * 30.0).x) * (1.0 - 0.6 * smoothstep(0.36, 0.47, a));
    vec3 albedo = mix(ring, white, smoothstep(0.47 - w, 0.47 + w, a));
    albedo = mix(vec3(0.004), albedo, smoothstep(0.19 - w, 0.19 + w, a));
    return Surface(albedo, N, 1.2, 180.0, 0.1, vec3(0.0), 1.0);
}
"""

_CLOTH = """
uniform sampler2D chest;
uniform int pattern; uniform float scale; uniform float folds; uniform float gloss;
uniform vec4 chest_box;            // x y low, 1/width 1/height
uniform sampler2D fold_map; uniform vec3 fold_scale;
vec2 folding(vec3 q) {
    vec3 w = abs(rn); w *= w; w /= w.x + w.y + w.z;
    return w.x * texture(fold_map, q.zy).xy + w.y * texture(fold_map, q.xz).xy + w.z * texture(fold_map, q.xy).xy;
}
Surface surface(vec3 N, vec3 V) {
    float inside = 1.0;
    if (dot(N, V) < 0.0) { N = -N; inside = 0.55; }
    vec4 fine = noise3(r * 9.0);
    vec2 fold = folding(r * fold_scale);
    float sharp = 0.5 - sqrt(fold.y * fold.y + 0.01);  // creases with a ridge
    N = bump(N, folds * (0.012 * fold.x + 0.013 * sharp) + 0.0001 * fine.x);
    float across = abs(rn.x) > abs(rn.z) ? r.z : r.x;
    if (e.z > 0.5) across = abs(rn.y) > abs(rn.z) ? r.z : r.y;
    vec3 c = rgb;
    float share = 0.0;
    if (pattern == 1) share = band(e.y / scale, 0.4);
    if (pattern == 2) share = band(across / scale, 0.25);
    if (pattern == 3) share = 0.5 * band(e.y / scale, 0.45) + 0.5 * band(across / scale, 0.45);
    if (pattern == 4) share = clamp(0.35 + 0.6 * fine.x, 0.0, 1.0);
    if (pattern == 5) share = max(step(0.5, e.z), step(e.y, chest_box.y));
    if (pattern == 6) share = smoothstep(0.05, 0.15, noise3(r * (0.1 / scale)).y);
    c = mix(rgb, rgb2, share);
    vec2 at = (r.xy - chest_box.xy) * chest_box.zw;
    vec4 mark = texture(chest, vec2(at.x, 1.0 - at.y));
    bool on = pattern == 7 && rn.z > 0.0 && e.z < 0.5 && min(at.x, at.y) > 0.0 && max(at.x, at.y) < 1.0;
    c = mix(c, mark.rgb, on ? mark.a : 0.0);
    c *= (1.0 + 0.1 * fine.z) * (1.0 + 0.1 * folds * (0.3 * fold.x + 0.5 * sharp));
    float hem = smoothstep(0.0120, 0.0135, e.x) + 1.0 - smoothstep(0.0105, 0.0120, e.x);
    return Surface(c * (0.72 + 0.28 * hem), N, 0.03 + 0.5 * gloss, 6.0 + 50.0 * gloss, 0.08, vec3(0.0), inside);
}
"""

_HAIR = """
Surface surface(vec3 N, vec3 V) {
    float inside = 1.0;
    if (dot(N, V) < 0.0) { N = -N; inside = 0.5; }
    vec4 strand = noise3(r * vec3(16.0, 3.0, 16.0)), lock = noise3(r * vec3(4.0, 1.0, 4.0));
    if (e.x < 0.010 * (0.5 + 0.7 * strand.z)) discard;
    N = bump(N, 0.0016 * strand.x + 0.005 * lock.y);
    return Surface(rgb * (1.0 + 0.55 * strand.y + 0.3 * lock.x), N, 0.12, 18.0, 0.0, vec3(0.0), inside);
}
"""

_SHOE = """
uniform vec4 sole;                 // rgb, height
uniform float gloss;
Surface surface(vec3 N, vec3 V) {
    vec4 f = noise3(r * 3.0);
    float y = e.y - sole.w;
    vec3 c = rgb * (1.0 + 0.08 * f.y);
    c = mix(c, rgb2, step(0.32, texture(noise, r.zy * 1.7).z * 2.0 - 1.0) * step(0.012, y));
    c = y < 0.0 ? sole.rgb : c;
    c *= smoothstep(0.0, 0.0025, abs(y)) * 0.5 + 0.5;
    return Surface(c, bump(N, 0.001 * f.x), 0.05 + 0.4 * gloss, 20.0, 0.0, vec3(0.0), 1.0);
}
"""

_CUT = " if (e.x < 0.0) discard;"
_WHOLE = ("skin", "eye")
"""Materials without a border."""
PERSON_FRAGMENTS = {
    # Without discard, what is hidden already is not shaded.
    kind: "#version 330\n" + LIGHT + _COMMON + text + (_LIT if kind in _WHOLE else _LIT.replace("{", "{" + _CUT, 1))
    for kind, text in (("skin", _SKIN), ("eye", _EYE), ("cloth", _CLOTH), ("hair", _HAIR), ("shoe", _SHOE))
}
"""Material -> fragment shader."""
