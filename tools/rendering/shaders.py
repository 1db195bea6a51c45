"""The shader programs of the scene, GLSL 3.30. Lighting is shared text that every lit surface includes."""

LENS = """
uniform vec4 lens;   // fx fy cx cy, pixels
uniform vec2 size;   // width height, pixels
uniform vec2 range;  // near far, metres
uniform mat4 T_cam_world;
vec4 project(vec3 world) {
    vec3 p = (T_cam_world * vec4(world, 1.0)).xyz;
    // Row 0 of the frame buffer is the top row of the picture, so y is not turned over.
    vec2 clip = 2.0 * (lens.xy * p.xy + lens.zw * p.z) / size - p.z;
    float depth = ((range.y + range.x) * p.z - 2.0 * range.y * range.x) / (range.y - range.x);
    return vec4(clip, depth, p.z);
}
"""

LIGHT = """
uniform vec3 eye;
uniform vec3 towards; uniform vec3 key; uniform vec3 sky; uniform vec3 ground;
uniform vec3 fill; uniform vec3 fill_towards;
uniform mat4 shadow_of_world;
uniform sampler2DShadow shadow_map;
uniform float shadow_blur;   // half width of the penumbra in the map, 0..1
uniform sampler2D occlusion; // ambient light that reaches a pixel
uniform vec2 size;
float shadow(vec3 world, vec3 n) {
    vec3 p = (shadow_of_world * vec4(world + n * 0.006, 1.0)).xyz;
    if (any(lessThan(p.xy, vec2(0.0))) || any(greaterThan(p.xy, vec2(1.0)))) return 1.0;
    // The pattern turns from pixel to pixel: noise instead of bands.
    float a = 6.2832 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    mat2 turn = mat2(cos(a), sin(a), -sin(a), cos(a)) * shadow_blur;
    float lit = 0.0;
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.0, 0.2), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.5, 0.1), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.45, -0.35), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.1, -0.8), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.75, 0.5), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.35, 0.85), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.8, -0.55), p.z));
    return lit / 7.0;
}
float open_share() { return texture(occlusion, gl_FragCoord.xy / size).r; }
vec3 ambient(vec3 n, float open) { return mix(ground, sky, 0.5 + 0.5 * n.y) * open; }
"""

THING_VERTEX = (
    """#version 330
"""
    + LENS
    + """
in vec3 xyz; in vec3 normal; in vec2 uv;
out vec3 world; out vec3 n; out vec2 at;
void main() { world = xyz; n = normal; at = uv; gl_Position = project(xyz); }
"""
)

THING_FRAGMENT = (
    """#version 330
"""
    + LIGHT
    + """
in vec3 world; in vec3 n; in vec2 at;
uniform sampler2D picture; uniform float luminous; uniform float gloss; uniform bool one_sided;
out vec4 pixel;
void main() {
    vec3 N = normalize(n), V = normalize(eye - world);
    float facing = dot(N, V);
    if (facing < 0.0) { if (one_sided) discard; N = -N; facing = -facing; }
    vec3 albedo = texture(picture, at).rgb;
    if (luminous > 0.0) { pixel = vec4(albedo * luminous, 1.0); return; }
    float lit = dot(N, towards);
    vec3 light = ambient(N, open_share()) + fill * max(dot(N, fill_towards), 0.0);
    if (lit > 0.0) light += key * lit * shadow(world, N);
    vec3 colour = albedo * light;
    if (gloss > 0.0) {
        float sheen = gloss * (0.03 + 0.97 * pow(1.0 - facing, 5.0));
        colour = mix(colour, 0.7 * sky, sheen * 0.6);
        vec3 H = normalize(V + towards);
        if (lit > 0.0) colour += key * lit * gloss * 0.3 * pow(max(dot(N, H), 0.0), 60.0);
    }
    pixel = vec4(colour, 1.0);
}
"""
)

PERSON_VERTEX = (
    """#version 330
"""
    + LENS
    + """
in vec3 xyz; in vec3 normal;
in vec3 rest; in vec3 rest_normal; in vec4 paint; in vec4 extra;   // extra: field, along, limb, spare
out vec3 world; out vec3 n; out vec3 r; out vec3 rn; out vec4 p; out vec4 e;
void main() {
    world = xyz; n = normal; r = rest; rn = rest_normal; p = paint; e = extra;
    gl_Position = project(xyz);
}
"""
)

PERSON_FRAGMENT = (
    """#version 330
"""
    + LIGHT
    + """
in vec3 world; in vec3 n; in vec3 r; in vec3 rn; in vec4 p; in vec4 e;
uniform sampler2D noise; uniform sampler2D chest;
uniform int kind;                  // 0 skin 1 cloth 2 hair 3 shoe
uniform int pattern;
uniform vec3 rgb; uniform vec3 rgb2; uniform float scale; uniform float folds; uniform float gloss;
uniform float oil; uniform float blemish;
uniform vec4 sole;                 // rgb, height
uniform vec3 eye_at[2]; uniform float eye_radius; uniform vec3 iris; uniform vec3 hair;
uniform vec4 chest_box;            // x y low, 1/width 1/height
out vec4 pixel;

vec4 noise3(vec3 q) {              // four noises of mean 0 that stick to the rest body
    vec3 w = abs(rn); w /= w.x + w.y + w.z;
    return (w.x * texture(noise, q.zy) + w.y * texture(noise, q.xz) + w.z * texture(noise, q.xy)) * 2.0 - 1.0;
}
vec3 bump(vec3 N, float h) {       // h: height in metres
    vec3 dx = dFdx(world), dy = dFdy(world);
    vec3 a = cross(dy, N), b = cross(N, dx);
    float det = dot(dx, a);
    if (abs(det) < 1e-12) return N;
    vec3 g = sign(det) * (dFdx(h) * a + dFdy(h) * b);
    vec3 out_ = abs(det) * N - g;
    return dot(out_, out_) > 0.0 ? normalize(out_) : N;
}
float band(float x, float share) { // 0 or 1 with a soft edge of one pixel; period 1
    float f = fract(x), w = clamp(fwidth(x), 1e-4, 0.5);
    return smoothstep(0.0, w, f) - smoothstep(share, share + w, f);
}
vec3 weave(vec3 N, inout float rough) {
    float across = abs(rn.x) > abs(rn.z) ? r.z : r.x;
    if (e.z > 0.5) across = abs(rn.y) > abs(rn.z) ? r.z : r.y;
    vec4 fine = noise3(r * 9.0);
    vec3 c = rgb;
    if (pattern == 1) c = mix(rgb, rgb2, band(e.y / scale, 0.4));
    else if (pattern == 2) c = mix(rgb, rgb2, band(across / scale, 0.25));
    else if (pattern == 3) c = mix(rgb, rgb2, 0.5 * band(e.y / scale, 0.45) + 0.5 * band(across / scale, 0.45));
    else if (pattern == 4) c = mix(rgb, rgb2, clamp(0.35 + 0.6 * fine.x, 0.0, 1.0));
    else if (pattern == 5) c = mix(rgb, rgb2, max(step(0.5, e.z), step(e.y, chest_box.y)));
    else if (pattern == 6) c = mix(rgb, rgb2, smoothstep(0.05, 0.15, noise3(r * (0.1 / scale)).y));
    else if (pattern == 7 && rn.z > 0.0 && e.z < 0.5) {
        vec2 at = (r.xy - chest_box.xy) * chest_box.zw;
        vec4 mark = texture(chest, vec2(at.x, 1.0 - at.y));
        if (all(greaterThan(at, vec2(0.0))) && all(lessThan(at, vec2(1.0)))) c = mix(c, mark.rgb, mark.a);
    }
    return c * (1.0 + 0.12 * fine.z);
}
void main() {
    if (e.x < 0.0) discard;
    vec3 N = normalize(n), V = normalize(eye - world);
    float facing = dot(N, V);
    float inside = 1.0;
    if (facing < 0.0 && kind != 0) { N = -N; inside = 0.55; }
    vec3 albedo = p.rgb;
    float shine = 0.0, power = 30.0, wrap = 0.0;
    vec3 soft = vec3(0.0);
    if (kind == 0) {
        vec4 fine = noise3(r * 5.0), coarse = noise3(r * 1.1);
        albedo *= 1.0 + blemish * (0.12 * coarse.x + 0.14 * min(fine.y, 0.0)) + 0.035 * fine.x;
        albedo *= vec3(1.0, 1.0 - 0.05 * coarse.z, 1.0 - 0.05 * coarse.z);
        N = bump(N, 0.0004 * fine.z + 0.0012 * coarse.w);
        shine = (0.05 + 0.16 * oil) * (1.0 + 0.6 * fine.w); power = 14.0 + 22.0 * oil; wrap = 0.22;
        soft = vec3(0.30, 0.08, 0.03);
        for (int k = 0; k < 2; k++) {
            vec3 d = r - eye_at[k];
            if (p.a > 0.5 && dot(d, d) < eye_radius * eye_radius * 1.3) {
                float a = length(d.xy) / eye_radius, w = fwidth(a) + 0.02;
                albedo = vec3(0.62, 0.56, 0.53) * (1.0 - 0.35 * smoothstep(0.5, 1.0, a));
                vec3 ring = iris * (0.6 + 0.5 * texture(noise, d.xy * 30.0).x);
                ring *= 1.0 - 0.6 * smoothstep(0.36, 0.47, a);
                albedo = mix(ring, albedo, smoothstep(0.47 - w, 0.47 + w, a));
                albedo = mix(vec3(0.004), albedo, smoothstep(0.19 - w, 0.19 + w, a));
                shine = 1.2; power = 180.0; wrap = 0.1; soft = vec3(0.0); N = normalize(n);
            }
        }
    } else if (kind == 1) {
        float rough = 1.0;
        vec4 c = noise3(r * vec3(1.6, 1.1, 1.6)), f = noise3(r * 3.7);
        N = bump(N, folds * (0.010 * c.x + 0.0035 * f.y) + 0.0003 * noise3(r * 17.0).x);
        albedo = weave(N, rough) * (1.0 + 0.1 * folds * c.x);
        float hem = smoothstep(0.012, 0.013, e.x) + 1.0 - smoothstep(0.0105, 0.0115, e.x);
        albedo *= 0.72 + 0.28 * hem;
        shine = 0.03 + 0.5 * gloss; power = 6.0 + 50.0 * gloss; wrap = 0.08;
    } else if (kind == 2) {
        vec4 strand = noise3(r * vec3(16.0, 3.0, 16.0)), lock = noise3(r * vec3(4.0, 1.0, 4.0));
        N = bump(N, 0.0016 * strand.x + 0.005 * lock.y);
        albedo = rgb * (1.0 + 0.55 * strand.y + 0.3 * lock.x);
        if (e.x < 0.012 * (0.5 + 0.5 * strand.z) ) discard;
        shine = 0.12; power = 18.0;
    } else {
        vec4 f = noise3(r * 3.0);
        N = bump(N, 0.002 * f.x);
        float y = e.y - sole.w;
        albedo = y < 0.0 ? sole.rgb : rgb * (1.0 + 0.08 * f.y);
        if (y > 0.0) albedo = mix(albedo, rgb2, step(0.32, noise3(r * 2.1).z) * step(0.012, y));
        albedo *= smoothstep(0.0, 0.0025, abs(y)) * 0.5 + 0.5;
        shine = 0.05 + 0.4 * gloss; power = 20.0;
    }
    albedo = clamp(albedo, 0.003, 0.95);
    float open = open_share();
    float lit = dot(N, towards), facing2 = max(dot(N, V), 0.0);
    vec3 light = ambient(N, open);
    light += fill * max((dot(N, fill_towards) + wrap) / (1.0 + wrap), 0.0) * (0.4 + 0.6 * open);
    float shade = lit > -wrap - 0.3 ? shadow(world, N) : 0.0;
    vec3 wrapped = max((vec3(lit) + wrap + soft) / (1.0 + wrap + soft), 0.0);
    vec3 lobe = mix(vec3(max(lit, 0.0)), wrapped, 0.7);
    light += key * lobe * mix(shade, 1.0, 0.06 * float(kind == 0));
    vec3 colour = albedo * light * inside;
    vec3 H = normalize(V + towards);
    float fresnel = 0.35 + 0.65 * pow(1.0 - facing2, 4.0);
    float glint = shine * (power + 8.0) / 40.0 * pow(max(dot(N, H), 0.0), power) * max(lit, 0.0) * shade;
    colour += (key * glint + sky * shine * 0.25 * open * pow(1.0 - facing2, 3.0)) * fresnel * inside;
    pixel = vec4(colour, 1.0);
}
"""
)

DEPTH_VERTEX = """#version 330
uniform mat4 shadow_of_world;
in vec3 xyz;
void main() { gl_Position = vec4((shadow_of_world * vec4(xyz, 1.0)).xyz * 2.0 - 1.0, 1.0); }
"""

DEPTH_FRAGMENT = """#version 330
void main() {}
"""

EYE_DEPTH_VERTEX = (
    """#version 330
"""
    + LENS
    + """
in vec3 xyz;
void main() { gl_Position = project(xyz); }
"""
)

FULL_VERTEX = """#version 330
in vec2 corner;
void main() { gl_Position = vec4(corner, 0.0, 1.0); }
"""

OCCLUSION_FRAGMENT = """#version 330
uniform sampler2D depths; uniform vec4 lens; uniform vec2 size; uniform vec2 range; uniform vec2 half_size;
uniform float radius_m;
out float open;
float metres(vec2 px) {
    float d = texture(depths, px / size).r * 2.0 - 1.0;
    return 2.0 * range.x * range.y / (range.y + range.x - d * (range.y - range.x));
}
vec3 place(vec2 px) { float z = metres(px); return vec3((px - lens.zw) / lens.xy * z, z); }
void main() {
    vec2 px = gl_FragCoord.xy * size / half_size;
    vec3 p = place(px);
    if (p.z > 0.5 * range.y) { open = 1.0; return; }
    vec3 l = p - place(px - vec2(2, 0)), rr = place(px + vec2(2, 0)) - p;
    vec3 u = p - place(px - vec2(0, 2)), d = place(px + vec2(0, 2)) - p;
    vec3 dx = abs(l.z) < abs(rr.z) ? l : rr, dy = abs(u.z) < abs(d.z) ? u : d;
    vec3 n = normalize(cross(dy, dx));
    if (dot(n, p) > 0.0) n = -n;
    float start = 6.2832 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    float sum = 0.0;
    for (int k = 0; k < 14; k++) {
        float s = (float(k) + 0.6) / 14.0, a = start + 2.399963 * float(k);
        // Half of the taps look near (fingers), half far (limbs).
        float reach = radius_m * s * s * lens.x / p.z + 1.5;
        vec3 v = place(px + reach * vec2(cos(a), sin(a))) - p;
        float len = length(v);
        sum += max(dot(n, v) / (len + 1e-5) - 0.12, 0.0) * smoothstep(2.2 * radius_m, 0.4 * radius_m, len);
    }
    open = clamp(1.0 - 1.9 * sum / 14.0, 0.12, 1.0);
}
"""
