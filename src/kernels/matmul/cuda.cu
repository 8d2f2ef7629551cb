// Products on a GPU through cuBLASLt. Choosing an algorithm takes the library some tens of
// microseconds, so the choice for a shape is kept.
#include <cublasLt.h>
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/matmul/cuda_args.h"

namespace aquatint::kernels {
namespace {

// Shapes remembered; a model has some ten, times the numbers of rows in use.
constexpr int kPlans = 512;

struct Plan {
  MatmulCudaArgs key;  // without the pointers, but for which of them there are
  int device = -1;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algorithm;
  bool found = false;
};

bool same(const MatmulCudaArgs& a, const MatmulCudaArgs& b) {
  return a.product == b.product && (a.bias != nullptr) == (b.bias != nullptr) &&
         a.rows == b.rows && a.outputs == b.outputs && a.columns == b.columns && a.ldx == b.ldx &&
         a.ldw == b.ldw && a.ldy == b.ldy && a.accumulate == b.accumulate &&
         a.bf16_result == b.bf16_result;
}

void destroy(Plan& plan) {
  if (plan.operation != nullptr) cublasLtMatmulDescDestroy(plan.operation);
  for (cublasLtMatrixLayout_t layout : {plan.w, plan.x, plan.y}) {
    if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
  }
  plan = Plan{};
}

cudaDataType operand_type(CudaProduct product) {
  return product == CudaProduct::kF32 ? CUDA_R_32F
                                      : product == CudaProduct::kBF16 ? CUDA_R_16BF : CUDA_R_8I;
}

cublasStatus_t set_operation(const MatmulCudaArgs& a, Plan& plan) {
  const bool int8 = a.product == CudaProduct::kInt8;
  cublasStatus_t status =
      cublasLtMatmulDescCreate(&plan.operation, int8 ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                               int8 ? CUDA_R_32I : CUDA_R_32F);
  // Row-major W and x are, to the library, transposed: y^T = (W^T)^T x^T.
  const cublasOperation_t transposed = CUBLAS_OP_T;
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                            &transposed, sizeof(transposed));
  }
  if (status == CUBLAS_STATUS_SUCCESS && a.bias != nullptr) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    status = cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                            &epilogue, sizeof(epilogue));
  }
  if (status == CUBLAS_STATUS_SUCCESS && a.bias != nullptr) {
    const cudaDataType type = CUDA_R_32F;  // whatever that of the result
    status = cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                                            &type, sizeof(type));
  }
  return status;
}

cublasStatus_t set_layouts(const MatmulCudaArgs& a, Plan& plan) {
  const auto n = [](int64_t value) { return static_cast<uint64_t>(value); };
  const cudaDataType type = operand_type(a.product);
  const cudaDataType sums = a.product == CudaProduct::kInt8 ? CUDA_R_32I : CUDA_R_32F;
  const cudaDataType result = a.bf16_result ? CUDA_R_16BF : sums;
  cublasStatus_t status =
      cublasLtMatrixLayoutCreate(&plan.w, type, n(a.columns), n(a.outputs), a.ldw);
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = cublasLtMatrixLayoutCreate(&plan.x, type, n(a.columns), n(a.rows), a.ldx);
  }
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = cublasLtMatrixLayoutCreate(&plan.y, result, n(a.outputs), n(a.rows), a.ldy);
  }
  return status;
}

cublasStatus_t choose_algorithm(const CudaLaunch& launch, Plan& plan) {
  cublasLtMatmulPreference_t preference = nullptr;
  cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const size_t workspace = launch.blas_workspace_bytes;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &workspace, sizeof(workspace));
  cublasLtMatmulHeuristicResult_t result{};
  int count = 0;
  status = cublasLtMatmulAlgoGetHeuristic(static_cast<cublasLtHandle_t>(launch.blas),
                                          plan.operation, plan.w, plan.x, plan.y, plan.y,
                                          preference, 1, &result, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  if (status == CUBLAS_STATUS_SUCCESS && count == 0) status = CUBLAS_STATUS_NOT_SUPPORTED;
  plan.algorithm = result.algo;
  return status;
}

// The plan of this shape, made at need in place of the oldest. Null if the library has none. One
// thread drives a device (device/stream.h), so nothing is locked.
const Plan* find_plan(const MatmulCudaArgs& a, const CudaLaunch& launch) {
  static Plan plans[kPlans];
  static int used = 0, oldest = 0;
  for (int i = 0; i < used; ++i) {
    if (plans[i].device == launch.device && same(plans[i].key, a)) {
      return plans[i].found ? &plans[i] : nullptr;
    }
  }
  const int at = used < kPlans ? used++ : oldest++ % kPlans;
  Plan& plan = plans[at];
  destroy(plan);
  plan.key = a;
  plan.device = launch.device;
  plan.found = set_operation(a, plan) == CUBLAS_STATUS_SUCCESS &&
               set_layouts(a, plan) == CUBLAS_STATUS_SUCCESS &&
               choose_algorithm(launch, plan) == CUBLAS_STATUS_SUCCESS;
  return plan.found ? &plan : nullptr;
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_matmul(const aquatint::kernels::MatmulCudaArgs* args,
                                    const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const Plan* plan = find_plan(*args, *launch);
  if (plan == nullptr) return cudaErrorNotSupported;
  if (args->bias != nullptr) {
    cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &args->bias,
                                   sizeof(args->bias));
  }
  const float one = 1.0f, beta = args->accumulate ? 1.0f : 0.0f;
  const int32_t int_one = 1, int_beta = args->accumulate ? 1 : 0;
  const bool int8 = args->product == CudaProduct::kInt8;
  const void* alpha_at = int8 ? static_cast<const void*>(&int_one) : &one;
  const void* beta_at = int8 ? static_cast<const void*>(&int_beta) : &beta;
  const cublasStatus_t status = cublasLtMatmul(
      static_cast<cublasLtHandle_t>(launch->blas), plan->operation, alpha_at, args->w, plan->w,
      args->x, plan->x, beta_at, args->y, plan->y, args->y, plan->y, &plan->algorithm,
      launch->blas_workspace, launch->blas_workspace_bytes,
      static_cast<cudaStream_t>(launch->stream));
  if (status == CUBLAS_STATUS_SUCCESS) return cudaSuccess;
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? cudaErrorNotSupported : cudaErrorLaunchFailure;
}
