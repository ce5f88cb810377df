// Bodies under gravity in SSE2 arithmetic (the build compiles this file with -msse2 -mfpmath=sse).
#include <math.h>
#include <string.h>

#include "programs.h"

namespace programs {
namespace {

struct Body {
  double position[3], velocity[3], mass;
};

constexpr int kBodies = 8;
constexpr double kStep = 0.001;

void Attract(Body& a, Body& b) {
  double delta[3], square = 0.01;
  for (int k = 0; k < 3; ++k) {
    delta[k] = a.position[k] - b.position[k];
    square += delta[k] * delta[k];
  }
  const double force = kStep / (square * __builtin_sqrt(square));
  for (int k = 0; k < 3; ++k) {
    a.velocity[k] -= delta[k] * b.mass * force;
    b.velocity[k] += delta[k] * a.mass * force;
  }
}

}  // namespace

uint32_t Sse2(uint32_t size) {
  Body bodies[kBodies];
  Random random(9);
  for (Body& body : bodies) {
    for (double& x : body.position) x = random.Next() / 16777216.0;
    for (double& v : body.velocity) v = 0;
    body.mass = 1 + random.Next() / 16777216.0;
  }
  for (uint32_t step = 0; step < size; ++step) {
    for (int i = 0; i < kBodies; ++i) {
      for (int j = i + 1; j < kBodies; ++j) Attract(bodies[i], bodies[j]);
    }
    for (Body& body : bodies) {
      for (int k = 0; k < 3; ++k) body.position[k] += kStep * body.velocity[k];
    }
  }
  uint32_t words[sizeof bodies / 4], hash = kMixStart;
  memcpy(words, bodies, sizeof bodies);
  for (uint32_t word : words) hash = Mix(hash, word);
  return hash;
}

}  // namespace programs
